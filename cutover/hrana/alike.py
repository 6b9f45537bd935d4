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
from cutover.hrana.messages import Close, Execute, Pipeline, read_pipeline
from cutover.model.statement import Statement

_NAME = b'"args":'
_LIST = re.compile(rb'"args"\s*:\s*\[')
_LONGEST = 4096
_MOST = 1024
_CLOSE = Close()


class Alike:
    """What bodies looked like. Those of clients that put more than one blank before the list are read as any other."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, bytes], tuple[bytes, Statement]] = {}
        """By protocol version and what stands before the arguments: what stands behind, and the statement."""

    def read(self, body: bytes, version: int, most: int) -> Pipeline:
        """As `read_pipeline`."""
        at = body.find(_NAME) + len(_NAME)
        end = body.find(b"[", at, at + 2) + 1
        if not end or at < len(_NAME) or most < 2:
            return read_pipeline(body, version, most)
        known = self._known.get((version, body[:end]))
        if known is not None and body.endswith(known[0]):
            try:
                values = orjson.loads(b"[" + body[end : -len(known[0])] + b"]")
                args = tuple([READERS[value["type"]](value) for value in values])
            except (ValueError, KeyError, TypeError, ProtocolError):
                return read_pipeline(body, version, most)
            like = known[1]
            return Pipeline(None, (Execute(Statement(like.sql, args, (), like.want_rows), None), _CLOSE))
        found = read_pipeline(body, version, most)
        if known is None and len(body) <= _LONGEST and len(_LIST.findall(body)) == 1:
            self._remember(body, end, version, found)
        return found

    def _remember(self, body: bytes, end: int, version: int, found: Pipeline) -> None:
        """If the list at `end` is that of the one statement's arguments, which leaving it empty tells."""
        match found:
            case Pipeline(None, (Execute(Statement(named=(), args=(_, *_)), None), Close())):
                pass
            case _:
                return
        behind = _behind(body, end)
        if behind is None:
            return
        like = read_pipeline(body[:end] + behind, version)
        match like:
            case Pipeline(None, (Execute(Statement(named=(), args=()) as statement, None), Close())):
                if len(self._known) >= _MOST:
                    self._known.clear()
                self._known[version, body[:end]] = (behind, statement)


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
