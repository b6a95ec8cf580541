"""Accounts of recorded steps, drawn at random: sessions that overlap, pause, branch, are rewound and given up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from scrimp.core.belief.account import Account
from scrimp.core.wire.prices import RateCard
from scrimp.replay.emulator import Emulator
from scrimp.replay.policies import Setting, setting_of
from scrimp.replay.steps import ROOT, Step, Waiting

T = TypeVar("T")
#: Draws a whole number between two, both included.
Number = Callable[[int, int], int]

MODEL = "claude-opus-5-5"
CARD = RateCard(4_000, 200, 5_000, 8_000, 20_000)
#: Around every edge: in time, just before and after a ping, a lifetime, an hour, a day.
PAUSES_MS = (2_000, 60_000, 289_000, 291_000, 299_999, 300_000, 700_000, 2_000_000, 3_500_000, 3_700_000)
LONG_MS = (8_000_000, 90_000_000, 400_000_000)
_WAITINGS: tuple[Waiting, ...] = ("tool", "tool", "agent", "question", "turn_ended", "turn_ended")


def step(number: int, at_ms: int, parent: int = ROOT, shared: int = 0, total: int = 10_000, **changes: object) -> Step:
    """Return a step with what usually holds."""
    fields = {
        "exchange_id": f"e{number}",
        "session_id": "s",
        "at_ms": at_ms,
        "model": MODEL,
        "cache": MODEL,
        "parent": parent,
        "shared_tokens": shared,
        "total_tokens": total,
        "waiting": "tool",
        **changes,
    }
    return Step(**fields)  # type: ignore[arg-type]


def conversation(pauses_ms: Sequence[int], waiting: Waiting = "turn_ended", tokens: int = 50_000) -> list[Step]:
    """Return one conversation that starts with so many tokens and grows by a thousand with each step."""
    steps, now_ms = [step(0, 0, total=tokens, waiting=waiting)], 0
    for number, pause_ms in enumerate(pauses_ms, start=1):
        now_ms += pause_ms
        before = steps[-1].total_tokens
        steps.append(step(number, now_ms, number - 1, before, before + 1_000, waiting=waiting))
    return steps


def account(number: Number, longest: int = 10) -> list[Step]:
    """Draw the steps of an account."""

    def pick(choices: Sequence[T]) -> T:
        return choices[number(0, len(choices) - 1)]

    steps: list[Step] = []
    last: dict[str, int] = {}
    now_ms = 0
    for index in range(number(1, longest)):
        now_ms += pick(PAUSES_MS) if number(0, 9) else pick(LONG_MS)
        session = pick(("a", "a", "b", "c"))
        parent = last.get(session, ROOT)
        if parent != ROOT and number(0, 9) == 0:
            parent = steps[parent].parent
        upto = 0 if parent == ROOT else steps[parent].total_tokens
        shared = upto if number(0, 7) else number(0, upto)
        total = shared + number(1, 60_000)
        steps.append(
            step(
                index,
                now_ms,
                parent,
                shared,
                total,
                session_id=session,
                thread=pick(("", "", "", "agent")),
                waiting=pick(_WAITINGS),
                signs=pick((None, 0, 1, 2, 3)),
                cause=pick((None, None, "thinking")),
                ttl=pick(("5m", "1h", None)),
                given_tokens=0 if number(0, 4) else number(0, total),
                first_token_at_ms=now_ms + pick((0, 5_000)),
                blocks=pick((1, 2, 25)),
                marked_tokens=total - pick((0, 0, 1)),
                has_tools=bool(number(0, 9)),
            )
        )
        last[session] = index
    return steps


def setting(steps: Sequence[Step], before: Account | None = None, card: RateCard = CARD) -> Setting:
    """Return the setting of steps that are all billed at one card."""
    return setting_of(Emulator(steps), [card] * len(steps), before or Account())
