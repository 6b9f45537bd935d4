"""Futures that tell their listener at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from typing import Any

import pytest

from cutover.prompt import Prompt, when_done

_WHOSE: ContextVar[str] = ContextVar("whose", default="nobody's")


def context_of(name: str) -> Context:
    context = copy_context()
    context.run(_WHOSE.set, name)
    return context


async def test_a_result_is_told_at_once_and_in_the_listener_s_context() -> None:
    future: Prompt[int] = Prompt()
    heard: list[tuple[int, str]] = []
    when_done(future, lambda done: heard.append((done.result(), _WHOSE.get())), context_of("mine"))
    future.set_result(5)
    assert heard == [(5, "mine")]
    assert _WHOSE.get() == "nobody's"
    assert await future == 5
    assert len(heard) == 1


@pytest.mark.parametrize(
    "settle",
    [lambda future: future.cancel(), lambda future: future.set_exception(ValueError("no"))],
    ids=["cancelled", "failed"],
)
async def test_all_else_is_told_in_a_turn_of_the_loop(settle: Callable[[Prompt[int]], object]) -> None:
    future: Prompt[int] = Prompt()
    heard: list[tuple[bool, str]] = []
    when_done(
        future,
        lambda done: heard.append((done.cancelled() or bool(done.exception()), _WHOSE.get())),
        context_of("mine"),
    )
    settle(future)
    assert heard == []
    await asyncio.sleep(0)
    assert heard == [(True, "mine")]


async def test_a_listener_that_comes_late_or_second_hears_of_it_too() -> None:
    future: Prompt[int] = Prompt()
    heard: list[str] = []
    when_done(future, lambda _: heard.append("first"), copy_context())
    when_done(future, lambda _: heard.append("second"), copy_context())
    future.set_result(1)
    when_done(future, lambda _: heard.append("late"), copy_context())
    assert heard == ["first"]
    await asyncio.sleep(0)
    assert heard == ["first", "second", "late"]


async def test_any_other_future_tells_as_ever() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    heard: list[str] = []
    when_done(future, lambda _: heard.append(_WHOSE.get()), context_of("mine"))
    future.set_result(1)
    await asyncio.sleep(0)
    assert heard == ["mine"]


async def test_a_listener_that_fails_harms_nobody_and_is_told_to_the_loop() -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: told.append(what))
    future: Prompt[int] = Prompt()
    failure = RuntimeError("a defect")

    def fail(_: object) -> None:
        raise failure

    when_done(future, fail, copy_context())
    future.set_result(1)
    assert await future == 1
    assert [what["exception"] for what in told] == [failure]
