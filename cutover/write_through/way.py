"""The front of this package: streams and batches in, a switch's hold and resume beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cutover import clock
from cutover.errors import StatementError
from cutover.metrics import Metrics
from cutover.model.statement import BatchResult, Statement, Step
from cutover.schema.batches import Route, route
from cutover.schema.sqltext import LONG
from cutover.stores.base import Member
from cutover.write_through.alone import route_alone
from cutover.write_through.gate import Gate
from cutover.write_through.primary import Begun, Primary
from cutover.write_through.shapes import Shapes
from cutover.write_through.stream import Stream


class WriteThrough:
    """One for the service. Streams and `run` may be used concurrently; `hold` and `resume` belong to one switch."""

    def __init__(
        self,
        member: Member,
        *,
        epoch: int,
        metrics: Metrics,
        hold_timeout: float,
        max_statement_bytes: int = 1_000_000,
        max_response_bytes: int = 10 * 1024 * 1024,
        max_batch_steps: int = 20_000,
    ) -> None:
        """`hold_timeout`: seconds that a write may wait for a switch. `max_statement_bytes`: of one SQL text.

        `max_response_bytes`: after which a stream's further requests do not fit into the same answer.
        """
        self.shapes = Shapes(metrics)
        """What became of each shape of statement."""
        self._primary = Primary(member, epoch, Gate(metrics, hold_timeout), self.shapes)
        self.ended: Callable[[Begun], BatchResult | StatementError | None] = self._primary.ended
        """What came of what is done; None if nothing was executed and it has to be sent through a stream."""
        self._primary.max_statement_bytes = max_statement_bytes
        self._primary.max_response_bytes = max_response_bytes
        self._primary.max_batch_steps = max_batch_steps

    @property
    def member(self) -> Member:
        """The primary that statements go to."""
        return self._primary.member

    @property
    def epoch(self) -> int:
        """The epoch of that primary."""
        return self._primary.epoch

    @property
    def holding(self) -> bool:
        """Whether writes have to wait for a switch."""
        return self._primary.gate.held

    @property
    def held(self) -> int:
        """Number of writes that wait."""
        return self._primary.gate.waiting

    @property
    def open_transactions(self) -> int:
        """Number of interactive transactions."""
        return self._primary.gate.open

    @property
    def draining(self) -> bool:
        """Whether new work is refused for good."""
        return self._primary.gate.draining

    @property
    def on_statement(self) -> Callable[[Statement], None] | None:
        """Called with each statement, in the way of the request: it must return at once."""
        return self._primary.on_statement

    @on_statement.setter
    def on_statement(self, show: Callable[[Statement], None] | None) -> None:
        self._primary.on_statement = show

    @property
    def on_read(self) -> Callable[[Sequence[Step], BatchResult], None] | None:
        """Called with each finished read outside of transactions, on the event loop: it must return at once."""
        return self._primary.on_read

    @on_read.setter
    def on_read(self, show: Callable[[Sequence[Step], BatchResult], None] | None) -> None:
        self._primary.on_read = show

    def stream(self, reader: str = "", client: str = "") -> Stream:
        """A new stream; it costs nothing until it needs a connection of its own.

        `reader`: the name of a token that may only read. `client`: the name of any token.
        """
        return Stream(self._primary, reader, client)

    def begin(self, statement: Statement, client: str, *, reads: bool = False) -> Begun | None:
        """Begin a statement of no stream at once, if it is a self-contained write or a query, and nothing is in its
        way; see `ended`.

        `client`: the name of its token. `reads`: that token may only read.
        """
        sql = statement.sql
        kind = route_alone(sql) if len(sql) <= LONG else None
        if kind is Route.READ:
            return self._primary.begin_read(statement, client)
        return self._primary.begin(statement, client) if kind is Route.WRITE and not reads else None

    async def run(self, steps: Sequence[Step]) -> BatchResult:
        """Run a batch of no stream. What it leaves open is rolled back.

        Raises `StatementError` if nothing of it was executed; errors of single statements are in the result.
        """
        if not steps:
            return BatchResult()
        primary, began = self._primary, clock.monotonic()
        primary.observe(steps)
        try:
            result = await (primary.read(steps) if route(steps) is Route.READ else primary.write(steps))
        except StatementError as error:
            self.shapes.refused(steps, error, began, "")
            raise
        self.shapes.ended(steps, result, began, "")
        return result

    async def hold(self, grace: float) -> None:
        """From now on new writes and new transactions wait. Returns when no write is under way or open.

        Interactive write transactions may go on for `grace` seconds and are then rolled back, those that have changed
        the schema at once: what they commit now the other side could not have. Their streams are told SQLITE_BUSY.
        Read-only ones go on. If this is cancelled or fails, `resume` with the same member restores all. Before the
        first `resume` nobody knows who is primary, and reads wait as well.
        """
        await self._primary.gate.hold(grace)

    async def expel(self) -> None:
        """Roll back interactive write transactions; their streams are told SQLITE_BUSY."""
        await self._primary.gate.expel()

    def in_the_way(self) -> str:
        """What keeps `hold` from returning, for people; empty if nothing does."""
        return self._primary.gate.in_the_way()

    def doubt(self) -> None:
        """From now on nobody can say who is primary, so that reads wait as well, until `resume`. Within a hold."""
        self._primary.known = False

    async def resume(self, member: Member, epoch: int) -> None:
        """End a hold: held writes run on `member`, in the order in which they came."""
        self._primary.member = member
        self._primary.epoch = epoch
        self._primary.known = True
        self._primary.gate.release()

    def hurry(self) -> None:
        """Have statements that still run ended, as far as the store can."""
        self._primary.member.executor.hurry()

    async def drain(self, deadline: float) -> None:
        """Shut down: refuse new work, answer everybody who waits, let what runs end within `deadline` seconds."""
        await self._primary.gate.drain(deadline)
