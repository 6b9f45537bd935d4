"""Long texts are translated on another thread, before anybody asks for their translation on the event loop.

A statement takes about 20 µs a character. One that inserts a thousand rows would hold up every other client for a fifth
of a second. The thread has a copy of the schema of its own, and shares nothing that changes.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from cutover.dialect.reading import Reading
from cutover.dialect.schema_copy import SchemaCopy
from cutover.dialect.spelling import Spelled
from cutover.dialect.translation import Translation
from cutover.dialect.translator import Translator
from cutover.model.statement import Statement
from cutover.model.values import SqlValue
from cutover.schema.arguments import bind
from cutover.schema.sqltext import inspect

if TYPE_CHECKING:
    from cutover.dialect.dialect import Dialect

LONG = 512
"""Characters. What is shorter takes a few milliseconds, hardly more than a thread and a copy of the schema."""
_STACK = 64 * 1024 * 1024
"""Bytes, of which only what is used is taken: deep expressions are walked by recursion."""


async def translate_ahead(dialect: Dialect, statement: Statement, *, foreign_keys: bool = True) -> None:
    """Have `dialect` know the translation of a long text, which is then `prepare`d. Raises what `prepare` raises."""
    if len(statement.sql) <= LONG or dialect.checks.changes(statement.sql):
        return
    checked = dialect.checks.check(statement.sql, foreign_keys=foreign_keys)
    bound = bind(inspect(statement.sql), statement)
    text = checked.instead or statement.sql
    if checked.local or dialect.translator.knows(text, bound):
        return
    async with dialect.translating:  # one at a time: they share the interpreter with everybody else
        while not dialect.translator.knows(text, bound):
            translator = dialect.translator
            try:
                translator.learn(text, bound, await _elsewhere(dialect, text, bound))
            except Spelled:
                dialect.learn()


async def _elsewhere(dialect: Dialect, sql: str, bound: Sequence[SqlValue]) -> Translation:
    catalog, ddl, originals = dialect.catalog, dialect.ddl, dict(dialect.copy.originals)

    def work() -> Translation:
        thread = threading.get_ident()
        with closing(SchemaCopy(ddl)) as copy:
            copy.originals = originals

            def reading(text: str) -> Reading | None:
                # What the rows show to be needed (wider numbers, one row at a time) comes when this copy is gone.
                return copy.reading(text) if threading.get_ident() == thread else catalog.reading(text)

            return Translator(replace(catalog, reading=reading), 1).translate(sql, bound)

    threads = ThreadPoolExecutor(1, "translating")
    try:
        with _large_stack():
            done = threads.submit(work)
        return await asyncio.wrap_future(done)
    finally:
        threads.shutdown(wait=False)


@contextmanager
def _large_stack() -> Iterator[None]:
    """For threads that begin meanwhile."""
    before = threading.stack_size(_STACK)
    try:
        yield
    finally:
        threading.stack_size(before)
