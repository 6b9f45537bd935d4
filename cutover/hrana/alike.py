"""Bodies that differ in their arguments only: of the next one like it, only those are read.

Most of what a client sends, it sends again with other arguments: one statement with arguments by position, and the
close of its stream. To read such a body as JSON and to make its objects takes longer than to find that everything up
to the arguments, and everything behind them, is what was read before, byte for byte. JSON's grammar makes that enough:
what begins and ends as a text that was read, and has a list's content where that had one, means the same with this
list in place of that.
"""

from __future__ import annotations

import re

import orjson

from cutover.hrana.fields import READERS, ProtocolError
from cutover.hrana.messages import Pipeline, lone, read_pipeline
from cutover.model.statement import Statement
from cutover.model.values import SqlValue

_NAME = b'"args":'
_BEHIND = len(_NAME)
_LIST = re.compile(rb'"args"\s*:\s*\[')
_LONGEST = 4096
_Like = tuple[bytes, int, str, bool]
_NONE: _Like = (b"", 0, "", False)
_MOST = 1024


class Alike:
    """What bodies looked like. Those of clients that put more than one blank before the list are read as any other."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, bytes], _Like] = {}
        """By protocol version and what stands before the arguments: what stands behind, where the list ends, seen from
        the end of the body, the statement's text, and whether rows are wanted."""
        self._version, self._before = 0, b" "
        """The last one of them: clients repeat themselves."""
        self._last = _NONE

    def read(self, body: bytes, version: int, most: int) -> Statement | Pipeline:
        """As `read_pipeline`; of one that is nothing but a statement and the close of its stream, the statement."""
        before, known = self._before, None
        if version == self._version and body.startswith(before) and most > 1:
            end, known = len(before), self._last
        else:
            at = body.find(_NAME)
            if at < 0 or most < 2:
                return _read(body, version, most)
            end = body.find(b"[", at + _BEHIND, at + _BEHIND + 2) + 1
            if not end:
                return _read(body, version, most)
            before = body[:end]
            known = self._known.get((version, before))
        if known is not None and body.endswith(known[0]):
            try:
                args = _arguments(body[end - 1 : known[1]])
            except (ValueError, KeyError, TypeError, ProtocolError):
                return _read(body, version, most)
            self._version, self._before, self._last = version, before, known
            return Statement(known[2], args, (), known[3])
        found = _read(body, version, most)
        if known is None and len(body) <= _LONGEST and len(_LIST.findall(body)) == 1 and isinstance(found, Statement):
            self._remember(body, end, version, found)
        return found

    def _remember(self, body: bytes, end: int, version: int, found: Statement) -> None:
        """If the list at `end` is that of the one statement's arguments, which leaving it empty tells."""
        if found.named or not found.args:
            return
        behind = _behind(body, end)
        if behind is None:
            return
        like = _read(body[:end] + behind, version, 2)
        if isinstance(like, Statement) and not like.named and not like.args:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[version, body[:end]] = (behind, 1 - len(behind), like.sql, like.want_rows)


def _arguments(values: bytes) -> tuple[SqlValue, ...]:
    args: list[SqlValue] = []
    for value in orjson.loads(values):
        kind = value["type"]
        # Most are texts; the readers tell what is wrong with one that is none.
        if kind == "text" and type(text := value.get("value")) is str:
            args.append(text)
        else:
            args.append(READERS[kind](value))
    return tuple(args)


def _read(body: bytes, version: int, most: int) -> Statement | Pipeline:
    found = read_pipeline(body, version, most)
    return lone(found) or found


def _behind(body: bytes, begin: int) -> bytes | None:
    """What stands behind the content of a list, with the bracket that ends it."""
    end = begin
    while (end := body.find(b"]", end)) >= 0:
        try:
            orjson.loads(b"[" + body[begin : end + 1])
        except ValueError:
            end += 1
        else:
            return body[end:]
    return None
