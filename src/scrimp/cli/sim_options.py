"""What `scrimp sim` is told, as values of the simulator: rules, faults and workspaces; and the tables of its help."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, get_args

import msgspec

from scrimp.errors import UsageError

if TYPE_CHECKING:
    from scrimp.sim.faults import Fault, Kind, Source
    from scrimp.sim.rules import Rules

#: Stands for a request that is left alone in a script of faults.
WELL = "ok"
#: Every kind of fault, each as often as the others; and the half of them that the seed picks, weighed by it.
ALL, SWARM = "all", "swarm"
_PER_CENT_IN_MILLIONTHS = 10_000
_PERMILLE = 1_000
#: The most requests that one script speaks of.
STEPS_MAX = 10_000


def _pair(given: str, option: str, example: str) -> tuple[str, str]:
    name, mark, value = given.partition("=")
    if not (name.strip() and mark and value.strip()):
        raise UsageError(f"{option} {given} is no pair.", f"Write it like {example}.")
    return name.strip(), value.strip()


def _among(name: str, known: Iterable[str], what: str) -> str:
    listed = list(known)
    if name not in listed:
        near = get_close_matches(name, listed, n=1)
        hint = f"Did you mean {near[0]}?" if near else "See `scrimp sim --help`."
        raise UsageError(f"There is no {what} {name!r}.", hint)
    return name


def rules_of(given: Iterable[str], shorthand: Mapping[str, Any]) -> Rules:
    """Return the rules that NAME=VALUE pairs ask for; `shorthand` are those of options of their own, None: not given.

    Raises `UsageError` for a rule that does not exist and for a value that it cannot have.
    """
    from scrimp.sim.rules import SWITCHES, Rules

    named = {name: value for name, value in shorthand.items() if value is not None}
    for pair in given:
        name, value = _pair(pair, "--rule", "--rule lookback_positions=7")
        named[_among(name, SWITCHES, "rule")] = value
    if isinstance(models := named.get("refuse_zero_tokens"), str):
        named["refuse_zero_tokens"] = [model.strip() for model in models.split(",")]
    try:
        return msgspec.convert(named, Rules, strict=False)
    except msgspec.ValidationError as error:
        raise UsageError(f"A rule cannot be that: {str(error)[:1].lower()}{str(error)[1:]}.", _CHOICES) from error


_CHOICES = "See `scrimp sim --help` for what each may be."


def faults_of(kinds: str | None, share: float, script: str | None, seed: int) -> Source | None:
    """Return where faults come from: a script, or a seeded draw among `kinds` for that share of the requests.

    Raises `UsageError` for a kind that does not exist and where both are given.
    """
    from scrimp.sim.faults import Faults, Script

    if kinds and script:
        raise UsageError("--faults and --fault-script exclude each other.", "Draw faults, or write them down.")
    if script:
        return Script(_steps(script))
    if kinds is None:
        return None
    return Faults(seed, _weights(kinds, seed), round(share * _PERMILLE))


def _weights(kinds: str, seed: int) -> dict[Kind, int]:
    from scrimp.sim.faults import SERVED, swarm

    if kinds == ALL:
        return dict.fromkeys(SERVED, 1)
    if kinds == SWARM:
        return {kind: weight for kind, weight in swarm(seed).items() if kind in SERVED}
    return {_kind(name): 1 for name in kinds.split(",")}


def _kind(name: str) -> Kind:
    from scrimp.sim.faults import SERVED

    _among(name.strip(), SERVED, "fault")
    return next(kind for kind in SERVED if kind == name.strip())


def _steps(script: str) -> list[Fault | None]:
    steps: list[Fault | None] = []
    for step in script.split(","):
        what, _, times = step.strip().partition("*")
        count = _number(times or "1", step, STEPS_MAX)
        if len(steps) + count > STEPS_MAX:
            raise UsageError("The script of faults is too long.", f"It may speak of {STEPS_MAX:,} requests.")
        steps += [None if what == WELL else _fault(what)] * count
    return steps


def _fault(what: str) -> Fault:
    from scrimp.sim.faults import Fault

    name, at, where = what.partition("@")
    kind = _kind(name)
    return Fault(kind, _number(where, what, 100) * _PER_CENT_IN_MILLIONTHS) if at else Fault(kind)


def _number(text: str, step: str, most: int) -> int:
    if not text.isdecimal() or int(text) > most:
        raise UsageError(f"{step.strip()!r} is no step of a script of faults.", 'Write steps like "ok*3,cut@50".')
    return int(text)


def keys_of(given: Iterable[str]) -> dict[str, str] | None:
    """Return each accepted key with its workspace, from NAME=KEY,KEY pairs; None where any key will do."""
    keys: dict[str, str] = {}
    for pair in given:
        name, listed = _pair(pair, "--workspace", "--workspace blue=sk-blue-1,sk-blue-2")
        for key in filter(None, map(str.strip, listed.split(","))):
            if keys.setdefault(key, name) != name:
                raise UsageError(f"Two workspaces, {keys[key]} and {name}, share a key.", "Give each keys of its own.")
    return keys or None


def fault_rows() -> Iterator[tuple[str, str]]:
    """Yield each kind of fault with what the client sees and what is billed."""
    from scrimp.sim.faults import MEANINGS, SERVED

    for kind in SERVED:
        seen, billed = MEANINGS[kind]
        yield kind, f"{seen}; billed: {billed}"


def rule_rows() -> Iterator[tuple[str, str]]:
    """Yield each rule with what it decides, what it may be and what it is unless told otherwise."""
    from typing import get_type_hints

    from scrimp.sim.rules import SWITCHES, Rules

    types, rules = get_type_hints(Rules), Rules()
    for name, meaning in SWITCHES.items():
        choices = [choice for choice in get_args(types[name]) if isinstance(choice, str)]
        may_be = f": {', '.join(choices)}" if choices else ""
        yield name, f"{meaning}{may_be}  [default: {_shown(getattr(rules, name))}]"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None or value == frozenset() else str(value)
