"""What every kind of session, and a stream, does by its batches: one statement, and a script."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from cutover.model.statement import BatchResult, Ok, Statement, StatementResult, Step
from cutover.schema.sqltext import split


class Batched:
    """Gives `execute` and `sequence` to whoever has `batch`."""

    __slots__ = ()

    @abstractmethod
    async def batch(self, steps: Sequence[Step]) -> BatchResult:
        """Run steps as their conditions say; statement errors are in the result."""

    async def execute(self, statement: Statement) -> StatementResult:
        """Run one statement. Raises `StatementError`; the session stays usable."""
        result = await self.batch((Step(statement),))
        error = result.errors[0]
        if error is not None:
            raise error
        return result.results[0] or StatementResult()

    async def sequence(self, sql: str) -> None:
        """Run every statement of a script until one fails (`StatementError`)."""
        await self._script(split(sql))

    async def _script(self, texts: Sequence[str]) -> None:
        """Run statements, each if the one before it succeeded."""
        steps = [Step(Statement(text, want_rows=False), Ok(at - 1) if at else None) for at, text in enumerate(texts)]
        result = await self.batch(steps)
        for error in result.errors:
            if error is not None:
                raise error
