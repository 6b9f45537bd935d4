"""Every interruption of a switch, in both directions, without a store: each ends in one primary, and in the right one.

The stores' half of the bargain (what each step leaves on disk) is what `tests/contract` demands of both of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from cutover.model.control import Control, Outcome, StoreName, SwitchState, other
from cutover.promote.plan import SWITCH, Decision, Facts, Step, plan_recovery

Planner = Callable[[Facts], Decision]


@dataclass(frozen=True)
class World:
    """What stands on disk, what is on its way, and how far the process is that performs the switch."""

    giving: StoreName
    giver: Control
    receiver: Control
    outcome: Outcome | None = None
    in_flight: bool = False
    """A commit was sent, and the receiver has neither done it nor ended the session that sent it."""
    done: int = 0
    """Steps performed by the process that began the switch; -1: it died."""
    planned: Decision | None = None
    """What a recovery has decided and not done yet: the world may change in between."""

    @property
    def receiving(self) -> StoreName:
        return other(self.giving)

    def accepting(self) -> list[StoreName]:
        """The stores that take applications' writes now: a fence stands exactly where the row is not steady primary."""
        rows = ((self.giving, self.giver), (self.receiving, self.receiver))
        return [name for name, row in rows if row.primary == name and row.state is SwitchState.STEADY]


def begin(giving: StoreName) -> World:
    row = Control("pair", giving, 7)
    return World(giving, row, row)


def perform(world: World, step: Step) -> World:
    """The durable effect of one step of the plan."""
    fenced = SwitchState.PROMOTING if world.giving == "sqlite" else SwitchState.DEMOTING
    match step:
        case Step.PREPARE:
            return replace(world, outcome=Outcome.PREPARED)
        case Step.FENCE:
            return replace(world, giver=world.giver.but(state=fenced, switch_id="s"))
        case Step.ANNOUNCE:
            return replace(world, giver=world.giver.but(state=SwitchState.COMMITTING))
        case Step.COMMIT:
            return replace(world, in_flight=True)
        case Step.FINISH:
            return settle(world)
    return world  # drain and verify leave nothing behind


def land(world: World) -> World:
    """The commit reaches the receiver: it goes ahead only if the switch is still prepared."""
    world = replace(world, in_flight=False)
    if world.outcome is not Outcome.PREPARED or world.receiver.epoch != 7:
        return world
    row = world.receiver.but(primary=world.receiving, epoch=8, switch_id="s")
    return replace(world, outcome=Outcome.COMMITTED, receiver=row)


def settle(world: World) -> World:
    row = world.giver.but(primary=world.receiver.primary, epoch=world.receiver.epoch, state=SwitchState.STEADY)
    return replace(world, giver=row.but(switch_id=None))


def act(world: World, decision: Decision) -> World:
    """The durable effect of one decision of the recovery."""
    match decision:
        case Decision.ABORT:
            return replace(world, giver=world.giver.but(state=SwitchState.STEADY, switch_id=None))
        case Decision.RESOLVE:
            outcome = Outcome.ABORTED if world.outcome is Outcome.PREPARED else world.outcome
            return replace(world, outcome=outcome, in_flight=False)
        case Decision.SETTLE:
            return settle(world)
    return world


def look(world: World, *, reachable: bool) -> Facts:
    return Facts(world.giver, reachable, world.receiver if reachable else None, world.outcome if reachable else None)


def steps(world: World, planner: Planner) -> Iterator[World]:
    """Everything that may happen next, in whatever order the machines like."""
    if world.in_flight:
        yield land(world)
    if world.done >= 0:
        yield replace(world, done=-1)  # killed, before or after whatever it had done
        following = SWITCH[world.done : world.done + 1]
        for step in following:
            # An answer to the commit is awaited; the end comes only after it said yes.
            if step is not Step.FINISH or world.outcome is Outcome.COMMITTED:
                yield replace(perform(world, step), done=world.done + 1)
        return
    if world.planned is not None:
        yield replace(act(world, world.planned), planned=None)
        yield replace(world, planned=None)  # the recovery is killed as well
        return
    for reachable in (True, False):
        decision = planner(look(world, reachable=reachable))
        if decision not in (Decision.NOTHING, Decision.WAIT):
            yield replace(world, planned=decision)


def explore(planner: Planner, giving: StoreName) -> set[World]:
    """All worlds that can come about. Raises `AssertionError` with the way that led to a forbidden one."""
    first = begin(giving)
    came: dict[World, World | None] = {first: None}
    edge = [first]
    while edge:
        world = edge.pop()
        check(world, came)
        for following in steps(world, planner):
            if following not in came:
                came[following] = world
                edge.append(following)
    return set(came)


def check(world: World, came: dict[World, World | None]) -> None:
    """Never two primaries, and never a giver that takes writes again after the receiver took over."""
    if len(world.accepting()) > 1:
        path, at = [world], came[world]
        while at is not None:
            path.append(at)
            at = came[at]
        raise AssertionError("two primaries:\n" + "\n".join(map(str, reversed(path))))


def recovered(world: World, planner: Planner) -> World:
    """The recovery with nothing in its way any more."""
    for _ in range(5):
        if world.in_flight:
            world = land(world)
        decision = planner(look(world, reachable=True))
        if decision in (Decision.NOTHING, Decision.WAIT):
            break
        world = act(world, decision)
    return world


def ours(facts: Facts) -> Decision:
    return plan_recovery(facts).decision


@pytest.mark.parametrize("giving", ["sqlite", "postgres"])
def test_every_interruption_of_a_switch_ends_in_one_primary(giving: StoreName) -> None:
    worlds = explore(ours, giving)
    prefixes = {world.done for world in worlds}
    assert prefixes == {-1, *range(len(SWITCH) + 1)}, "every prefix of the plan was reached, and cut off"
    for world in worlds:
        end = recovered(world, ours)
        assert len(end.accepting()) == 1, world
        committed = end.outcome is Outcome.COMMITTED
        assert end.accepting() == [end.receiving if committed else end.giving], world
        assert end.giver.epoch == end.receiver.epoch == (8 if committed else 7), world
        assert end.giver.primary == end.receiver.primary, world


@pytest.mark.parametrize("giving", ["sqlite", "postgres"])
def test_an_interrupted_recovery_ends_where_an_undisturbed_one_does(giving: StoreName) -> None:
    """Performing any decision twice changes nothing more: each step of a recovery is idempotent."""
    for world in explore(ours, giving):
        if world.planned is not None:
            once = act(world, world.planned)
            assert act(once, world.planned) == once
            assert recovered(once, ours).accepting() == recovered(world, ours).accepting() or world.in_flight


@pytest.mark.parametrize("giving", ["sqlite", "postgres"])
def test_a_recovery_that_guesses_is_found_out(giving: StoreName) -> None:
    """What the tests above would catch: an abort on sight of a prepared switch, whose commit is still on its way."""

    def guessing(facts: Facts) -> Decision:
        decision = ours(facts)
        return Decision.ABORT if decision in (Decision.RESOLVE, Decision.WAIT) else decision

    with pytest.raises(AssertionError, match="two primaries"):
        explore(guessing, giving)


@pytest.mark.parametrize("state", [SwitchState.PROMOTING, SwitchState.DEMOTING, SwitchState.COMMITTING])
@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_giver_that_the_pair_went_on_without_is_never_let_go(state: SwitchState, outcome: Outcome) -> None:
    """A primary given up by force in the middle of a switch comes back: lifting its fence would make two primaries."""
    giver = Control("pair", "postgres", 3, state, "s")
    receiver = Control("pair", "sqlite", 4 if outcome is not Outcome.COMMITTED else 5, switch_id="forced")
    assert ours(Facts(giver, True, receiver, outcome)) is Decision.SUPERSEDED
