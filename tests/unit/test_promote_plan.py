"""The switch's decisions, without a store."""

from itertools import product

import pytest

from cutover.errors import ConfigurationError, SwitchRefused
from cutover.model.control import Control, Outcome, Phase, SwitchState
from cutover.promote.gates import GateFacts, evaluate
from cutover.promote.highwater import HighWater, read_high_water, refuse_old_copy, write_high_water
from cutover.promote.phases import TABLE, Event, after
from cutover.promote.plan import Decision, Facts, Standing, compare_controls, local_is_old, plan_recovery

GIVER = Control("pair", "sqlite", 3, SwitchState.COMMITTING, "switch-1")
RECEIVER = Control("pair", "sqlite", 3)


@pytest.mark.parametrize(("phase", "event"), list(product(Phase, Event)))
def test_an_absent_entry_raises_and_says_what_is_possible(phase: Phase, event: Event) -> None:
    if (phase, event) in TABLE:
        assert after(phase, event) is TABLE[phase, event]
    else:
        with pytest.raises(SwitchRefused, match=f"while the phase is {phase}"):
            after(phase, event)


@pytest.mark.parametrize(
    ("phase", "event", "hint"),
    [
        (Phase.SHADOWING, Event.FINISH, "Possible now: cutover promote."),
        (Phase.PROMOTED, Event.PROMOTE, "Possible now: cutover demote, cutover finish."),
        (Phase.PROMOTING, Event.FINISH, "Wait until the phase is another one; `cutover status` shows it."),
        (Phase.IDLE, Event.PROMOTE, "Wait until the phase is another one; `cutover status` shows it."),
        (Phase.FINISHED, Event.DEMOTE, "The migration has ended; nothing is left to be done."),
    ],
)
def test_what_is_possible_is_named_by_the_operators_commands(phase: Phase, event: Event, hint: str) -> None:
    with pytest.raises(SwitchRefused) as refused:
        after(phase, event)
    assert refused.value.hint == hint


@pytest.mark.parametrize(("count", "told"), [(1, "1 row in quarantine"), (1200, "1,200 rows in quarantine")])
def test_gates_count_as_people_do(count: int, told: str) -> None:
    gates = {gate.name: gate for gate in evaluate(GateFacts(quarantined=count))}
    assert gates["no_quarantine"].detail == f"{told}, limit 0"


@pytest.mark.parametrize(
    ("facts", "ok", "told"),
    [
        (GateFacts(statements=3), True, "3 of 3 statements ready"),
        (GateFacts(statements=3, statements_unseen=1), False, "2 of 3 statements ready, 1 not rehearsed yet"),
        (
            GateFacts(statements=3, statements_failing=1, statements_unseen=1),
            False,
            "1 of 3 statements ready, 1 not rehearsed yet",
        ),
        (
            GateFacts(statements=1, statements_partly=1, statements_beyond=2),
            False,
            "1 of 1 statement ready, 1 not with every combination of arguments; "
            "2 executions of further statements not rehearsed",
        ),
        (GateFacts(), True, "the front door has seen no statement"),
        (GateFacts(statements_changes=1), False, "1 schema change that Postgres refuses and that may come again"),
        (
            GateFacts(statements=1, statements_changes=2),
            False,
            "1 of 1 statement ready, 2 schema changes that Postgres refuses and that may come again",
        ),
    ],
)
def test_statements_that_were_not_rehearsed_are_not_ready(facts: GateFacts, ok: bool, told: str) -> None:
    (gate,) = (gate for gate in evaluate(facts) if gate.name == "statements_ready")
    assert (gate.ok, gate.detail) == (ok, told)


@pytest.mark.parametrize(
    ("counts", "differ", "ok", "detail"),
    [
        ((0, 0, 0), 0, True, "no statement was replayed on the shadow"),
        ((5, 2, 1), 0, True, "5 match, 2 mismatch, 1 inconclusive; none differs now"),
        (
            (5, 2, 1),
            1,
            False,
            "1 statement answered differently on Postgres, limit 0, see `cutover rehearse` "
            "(5 match, 2 mismatch, 1 inconclusive)",
        ),
    ],
)
def test_shadow_reads_that_differ_now_block(counts: tuple[int, int, int], differ: int, ok: bool, detail: str) -> None:
    facts = GateFacts(shadow_reads=counts, shadow_reads_differ=differ)
    (gate,) = (gate for gate in evaluate(facts) if gate.name == "shadow_reads_match")
    assert (gate.ok, gate.detail) == (ok, detail)


def test_a_write_that_differs_blocks_as_a_read_does() -> None:
    facts = GateFacts(shadow_reads=(5, 0, 1), shadow_writes=(3, 1, 0), shadow_reads_differ=1)
    (gate,) = (gate for gate in evaluate(facts) if gate.name == "shadow_reads_match")
    assert not gate.ok
    assert gate.detail.endswith(
        "(reads: 5 match, 0 mismatch, 1 inconclusive; writes: 3 match, 1 mismatch, 0 inconclusive)"
    )


def test_only_a_switch_leads_to_the_other_side() -> None:
    assert {key for key, result in TABLE.items() if result is Phase.PROMOTED and key[0] is not Phase.PROMOTED} == {
        (Phase.PROMOTING, Event.COMMIT),
        (Phase.DEMOTING, Event.ABORT),
    }


@pytest.mark.parametrize("reachable", [True, False])
@pytest.mark.parametrize("state", [SwitchState.PROMOTING, SwitchState.DEMOTING])
def test_before_the_commit_was_sent_nobody_needs_to_be_asked(state: SwitchState, reachable: bool) -> None:
    assert plan_recovery(Facts(GIVER.but(state=state), reachable)).decision is Decision.ABORT


@pytest.mark.parametrize(
    ("facts", "decision"),
    [
        (Facts(GIVER, False), Decision.WAIT),
        (Facts(GIVER, True, None, None), Decision.WAIT),
        (Facts(GIVER, True, RECEIVER, None), Decision.WAIT),
        (Facts(GIVER, True, RECEIVER.but(pair_id="other"), Outcome.PREPARED), Decision.WAIT),
        (Facts(GIVER, True, RECEIVER, Outcome.PREPARED, same_server=False), Decision.WAIT),
        (Facts(GIVER, True, RECEIVER, Outcome.COMMITTED, same_server=False), Decision.WAIT),
        (Facts(GIVER, True, RECEIVER, Outcome.PREPARED), Decision.RESOLVE),
        (Facts(GIVER, True, RECEIVER, Outcome.ABORTED), Decision.ABORT),
        (Facts(GIVER, True, RECEIVER.but(primary="postgres", epoch=4), Outcome.COMMITTED), Decision.SETTLE),
        (Facts(GIVER.but(state=SwitchState.STEADY), False), Decision.NOTHING),
    ],
)
def test_after_it_was_sent_only_the_right_receiver_decides(facts: Facts, decision: Decision) -> None:
    recovery = plan_recovery(facts)
    assert recovery.decision is decision
    assert recovery.reason.endswith(".")


LOCAL = Control("pair", "sqlite", 3, trimmed_batch=7)


@pytest.mark.parametrize(
    ("local", "peer", "standing"),
    [
        (LOCAL, Control("pair", "sqlite", 3, applied_batch=7), Standing.AGREE),
        (LOCAL, Control("pair", "sqlite", 3, applied_batch=8), Standing.AGREE),
        (LOCAL, Control("pair", "sqlite", 3, applied_batch=9), Standing.REFUSE),
        (LOCAL, Control("pair", "sqlite", 3, applied_batch=6), Standing.RESTORED),
        (LOCAL, Control("other", "sqlite", 3), Standing.REFUSE),
        (LOCAL, Control("pair", "postgres", 4), Standing.REFUSE),
        (LOCAL, Control("pair", "postgres", 3), Standing.REFUSE),
        (LOCAL, Control("pair", "postgres", 2), Standing.PEER_RETURNED),
        (LOCAL, Control("pair", "postgres", 2, SwitchState.DEMOTING), Standing.PEER_RETURNED),
        (LOCAL, Control("pair", "postgres", 2, SwitchState.COMMITTING), Standing.PEER_RETURNED),
        (LOCAL, Control("pair", "sqlite", 1), Standing.RESTORED),
        (LOCAL.but(primary="postgres"), Control("pair", "postgres", 2), Standing.REFUSE),
        (Control("pair", "postgres", 4), Control("pair", "postgres", 4), Standing.AGREE),
        (
            Control("pair", "postgres", 4, applied_batch=9),
            Control("pair", "postgres", 4, trimmed_batch=5),
            Standing.REFUSE,
        ),
    ],
)
def test_two_control_rows(local: Control, peer: Control, standing: Standing) -> None:
    assert compare_controls(local, peer, same_server=True)[0] is standing


def test_which_copies_of_the_file_are_old() -> None:
    assert not local_is_old(LOCAL, Control("pair", "sqlite", 3, applied_batch=8))
    assert local_is_old(LOCAL, Control("pair", "sqlite", 3, applied_batch=9))
    assert local_is_old(LOCAL, Control("pair", "postgres", 4))
    assert not local_is_old(LOCAL.but(state=SwitchState.COMMITTING), Control("pair", "postgres", 4))
    assert not local_is_old(LOCAL, Control("other", "postgres", 4))


def test_another_server_is_refused() -> None:
    assert compare_controls(LOCAL, Control("pair", "sqlite", 3), same_server=False)[0] is Standing.REFUSE


def test_high_water_survives_and_refuses_an_old_copy(tmp_path) -> None:
    path = tmp_path / "deep" / "high-water.json"
    assert read_high_water(path) is None
    write_high_water(path, HighWater("pair", 3, 9))
    mark = read_high_water(path)
    assert mark == HighWater("pair", 3, 9)
    here = Control("pair", "sqlite", 3, trimmed_batch=9)
    refuse_old_copy(mark, here)
    refuse_old_copy(None, here.but(epoch=1))
    refuse_old_copy(mark, here.but(primary="postgres", trimmed_batch=2))
    with pytest.raises(ConfigurationError, match="batch 8, and batch 9 was"):
        refuse_old_copy(mark, here.but(trimmed_batch=8))
    with pytest.raises(ConfigurationError, match="old copy"):
        refuse_old_copy(mark, here.but(epoch=2))
    with pytest.raises(ConfigurationError, match="another pair"):
        refuse_old_copy(mark, here.but(pair_id="other"))
    path.write_text("{")
    with pytest.raises(ConfigurationError, match="damaged"):
        read_high_water(path)


def test_the_primarys_own_sequences_do_not_hold_up_the_way_back() -> None:
    def ready(*reverse: tuple[str, bool, str]) -> bool:
        return next(gate.ok for gate in evaluate(GateFacts(reverse=reverse)) if gate.name == "reverse_ready")

    ended = ("sequences", False, "public.plain_id_seq is at its end")
    assert ready(ended, ("version", True, ""))
    assert not ready(ended, ("version", False, "too old"))
