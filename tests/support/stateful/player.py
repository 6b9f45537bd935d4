"""Plays a program step by step; each step says what must be true after it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from cutover.compare.jsonable import json_key
from tests.support.stateful import program as steps
from tests.support.stateful.checks import Checker
from tests.support.stateful.model import Model
from tests.support.stateful.program import Program, Step, Switch, Tamper, Write
from tests.support.stateful.schema import Column, Row, Value
from tests.support.stateful.service import Died
from tests.support.stateful.statements import Delete, Insert, Portable, Truncate, Update
from tests.support.stateful.world import World, world

_CAUGHT = "caught"
"""The stream of a transaction that a switch finds open."""
_NUMBERED = """
SELECT 1 FROM pg_attribute WHERE attrelid = $1::text::regclass AND attname = '_rowid_' AND NOT attisdropped"""
"""Whether a table has SQLite's rowids."""
_FOREIGN: dict[str, Value] = {"TEXT": "tampered", "INTEGER": 999, "REAL": 99.5, "BLOB": b"tampered"}


def play(
    program: Program,
    *,
    host: str,
    server: str,
    folder: Path,
    tally: Counter[str] | None = None,
) -> None:
    """Play a program to its end; raises `AssertionError` where the real thing is not what it should be."""
    model = Model(program.schema)
    try:
        with world(host, server, folder, program.schema) as real:
            player = Player(real, model, tally if tally is not None else Counter())
            player.play(program)
    finally:
        model.close()


class Player(Checker):
    """One program."""

    def __init__(self, real: World, model: Model, tally: Counter[str]) -> None:
        super().__init__(real, model, tally)
        self.met = False
        """Whether the service has found Postgres, and made its tables."""

    def play(self, program: Program) -> None:
        """From the file without cutover to the last comparison."""
        for statement in program.beginning:
            self.write(Write("direct", (statement,)))
        self.world.service.start()
        for step in (*program.steps, steps.Resume(), steps.Verify()):
            self.step(step)
            self.tally[type(step).__name__] += 1

    def step(self, step: Step) -> None:
        """Perform one step."""
        perform: dict[type, Callable[[Any], None]] = {
            Write: self._write,
            steps.Rewrite: self._write,
            steps.Fill: self._write,
            steps.Settle: lambda _: self._settle(),
            steps.Verify: lambda _: self._verify(),
            Switch: self._switch,
            steps.Mend: lambda _: self._mend(),
            steps.Pause: lambda _: self._pause("pause"),
            steps.Resume: lambda _: self._pause("resume"),
            steps.CopyAgain: self._copy_again,
            Tamper: self._tamper,
            steps.Reopen: lambda _: self._reopen(),
            steps.Kill: self._kill,
        }
        perform[type(step)](step)

    def _write(self, step: Write | steps.Rewrite | steps.Fill) -> None:
        self._meet(step)
        if isinstance(step, Write):
            self.write(step)
        elif isinstance(step, steps.Rewrite):
            self.rewrite(step)
        else:
            self.fill(step)

    def _copy_again(self, step: steps.CopyAgain) -> None:
        self._settle()
        self.world.service.call("copy_again", step.table)

    def _reopen(self) -> None:
        self.world.service.stop()
        self._start()

    def _start(self, point: str = "") -> None:
        self.paused = False
        self.world.service.start(point)

    def _pause(self, action: str) -> None:
        self._settle()
        self.world.service.call("mirror", action)
        self.paused = action == "pause"

    def _meet(self, write: Write | steps.Rewrite | steps.Fill) -> None:
        """Before there is a table on Postgres, no native client writes to it, and what BLOB columns hold decides it."""
        if not self.met and (write.way in ("native", "beside") or self._deciding(write)):
            self._settle()
            self.met = True

    def _deciding(self, write: Write | steps.Rewrite | steps.Fill) -> bool:
        return isinstance(write, Write) and any(
            column.kind == "BLOB" and not isinstance(value, bytes | None)
            for statement in write.statements
            for name, value in statement.assigned()
            for column in self.schema.columns(statement.table)
            if column.name == name
        )

    # -- switching ---------------------------------------------------------------------------------------------------

    def _switch(self, step: Switch) -> None:
        direction = "promote" if self.primary == "sqlite" else "demote"
        blocked = self.paused or self.model.any_misfit or bool(self.model.orphaned())
        if not self.paused:
            self._verify()
        caught = [] if blocked else self._begin(step.caught)
        if step.at:
            self.world.service.call("stand_still_at", step.at)
        number = self.world.service.ask("switch", direction)
        if step.at and self.world.service.stands_still(number):
            self.tally["stood still"] += 1
            self._write_during(step, blocked=blocked)
            self.world.service.go_on()
        elif not step.at:
            self._write_during(step, blocked=blocked)
        result = self.world.service.answer(number)
        if caught:
            self._was_expelled(caught)
        self.tally[f"{direction} {result['result']}"] += 1
        if blocked:
            assert result["result"] == "gates_failed", result
            return
        if self.model.any_misfit:  # written since the gates were looked at
            assert result["result"] in ("aborted", "gates_failed"), result
            return
        if result["result"] == "aborted" and _truncates(step):  # its copy may take longer than a pause
            assert "not copied to its end" in result["message"], result
            return
        assert result["result"] == f"{direction}d", result
        self._switched(result["epoch"])

    def _write_during(self, step: Switch, *, blocked: bool) -> None:
        if blocked or self.schema.triggers():  # whether those fire depends on who is primary at that moment
            return
        self.switching = True
        for write in step.during:
            self.write(write)
        self.switching = False

    def _begin(self, statements: Iterable[Portable]) -> list[int]:
        """Open a transaction at the front door; rows affected by each statement."""
        comparable = [each for each in statements if self._comparable(each, "session")]
        if not comparable:
            return []
        assert self._control_at_door("BEGIN", _CAUGHT).done
        self.model.db.execute("BEGIN")
        affected = []
        for statement in comparable:
            outcome = self._at_door(statement, _CAUGHT)
            self._judge(statement, outcome)
            affected.append(outcome.affected)
        self.model.db.execute("ROLLBACK")
        return affected

    def _was_expelled(self, affected: list[int]) -> None:
        """The transaction was rolled back by the switch, unless it had nothing to roll back."""
        outcome = self._control_at_door("COMMIT", _CAUGHT)
        assert outcome.code == "SQLITE_BUSY" or (outcome.done and not any(affected)), outcome
        self.tally["expelled"] += not outcome.done
        self.world.service.call("hang_up", _CAUGHT)

    def _switched(self, epoch: int) -> None:
        assert epoch == self.epoch + 1
        self.epoch = epoch
        self.primary = "postgres" if self.primary == "sqlite" else "sqlite"
        if self.primary == "sqlite":
            self.model.restore_triggers()
        else:
            self.model.rest_triggers()

    def _mend(self) -> None:
        """Delete what keeps a switch from happening, children of what is deleted included."""
        for table, row in list(self._misfits()):
            key = tuple(zip(table.key_names, self.model.key(table.name, row), strict=True))
            self.write(Write("front", (Delete(table.name, key),)))
        for name in self.model.orphaned():
            self.write(Write("front", (Update(name, (("up", None),)),)))

    # -- trouble -----------------------------------------------------------------------------------------------------

    def _tamper(self, step: Tamper) -> None:
        if self.paused:
            return
        self._verify()
        table = self.schema.table(step.table)
        rows = [row for row in self.model.rows(step.table) if row not in self.model.misfits(step.table)]
        if step.how == "extra":
            row = tuple(self._foreign(column) for column in self.schema.columns(step.table))
        elif rows:
            row = sorted(rows, key=repr)[step.row % len(rows)]
        else:
            return
        key = self.model.key(step.table, row)
        if self.primary == "sqlite":
            self.world.service.call(
                "replayed"
            )  # on what is spoiled their answers would differ, and shut a gate for good
        self._spoil(step, row, tuple(zip(table.key_names, key, strict=True)))
        found = [(drift["table"], drift["key"], drift["kind"]) for drift in self._drift()]
        assert found == [(step.table, json_key(key), step.how)], (found, row)
        if step.switch:
            result = self.world.service.call("switch", "promote" if self.primary == "sqlite" else "demote")
            assert result["result"] == "gates_failed", result
            assert "verified" in result["gates"], result
        repaired = self.world.service.call("repair")
        assert (repaired["repaired"], repaired["remaining"]) == (1, 0), repaired
        self._verify()

    def _foreign(self, column: Column) -> Value:
        return None if column.nullable and column.name != "h" else _FOREIGN[column.kind]

    def _spoil(self, step: Tamper, row: Row, key: tuple[tuple[str, Value], ...]) -> None:
        names = tuple(column.name for column in self.schema.columns(step.table))
        statement: Portable = {
            "missing": Delete(step.table, key),
            "extra": Insert(step.table, names, (row,)),
            "different": Update(step.table, (("v", "tampered"),), key),
        }[step.how]
        shadow = "postgres" if self.primary == "sqlite" else "sqlite"
        with self.world.past_the_fence(shadow):
            if shadow == "postgres":
                sql, values = statement.native(self.schema)
                if step.how == "extra" and self.world.native(_NUMBERED, step.table)[1]:  # no sequence is set yet
                    sql = sql.replace("(", "(_rowid_, ", 1).replace("VALUES (", "VALUES (1000000, ")
                affected, _ = self.world.native(sql, *values)
            else:
                affected = self.world.file.execute(*statement.as_native(self.schema)).rowcount
        assert affected == 1

    def _kill(self, step: steps.Kill) -> None:
        try:
            if not step.point:
                self.world.service.kill()
                raise Died
            if isinstance(step.doing, steps.Reopen):
                self.world.service.stop()
                self._start(step.point)
            else:
                self.world.service.call("arm", step.point)
                self.step(step.doing)
            self._settle()
            self.world.service.call("arm", "")
        except Died:
            self.switching = False
            self.tally[f"died at {step.point or 'once'}"] += 1
            self.world.service.bury()
            self._start_again(step.again)
            self._recover()

    def _start_again(self, point: str) -> None:
        try:
            self._start(point)
            if point:
                self._settle()
                self.world.service.call("arm", "")
        except Died:
            self.tally[f"died at {point}"] += 1
            self.world.service.bury()
            self._start()

    def _recover(self) -> None:
        """Which store is primary after a kill is for the stores to say; the epoch must say the same."""
        self.world.service.call("settle")
        primary, epoch, _, _ = self.world.service.call("standing")
        if epoch != self.epoch:
            self._switched(epoch)
        assert primary == self.primary


def _flat(sql: tuple[str, tuple[Value, ...]]) -> tuple[Any, ...]:
    return (sql[0], *sql[1])


def _truncates(step: Switch) -> bool:
    return any(isinstance(statement, Truncate) for write in step.during for statement in write.statements)
