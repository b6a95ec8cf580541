"""The switches of Claude Code that bear on its cache: what each saves, which are set, which a run of ours may set.

Each was seen to work on the wire (facts on clients, section 2.8, Claude Code 2.1.330). What it saves is a figure that
somebody measured, with who did, or "not measured". Whether a switch helps is the owner's to decide where it may cost
something: an hour's lifetime does for sessions without pauses, and moved text may be weighed otherwise by the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

State = Literal["set", "not set", "advised"]

NOT_MEASURED = "not measured"
#: Where an API key stands: the first line of a prompt is only left out where it is known to be nobody's subscription.
_KEYS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")
#: `bench/policies.py` on 6,927 recorded requests: marks of an hour beside marks of five minutes, by price of a read.
_HOURS = "5% / 8% / 10% of the input side over five minutes everywhere, reads at 0.1 / 0.05 / 0.025 of the base price"


class Switch(NamedTuple):
    """An environment variable, or a flag where the name begins with dashes.

    * `value` is what it is set to, or, where it does `harm`, what it should not be.
    * `is_advised` says that it helps whoever uses Claude Code; the others help some.
    * `is_safe` says that a run may set it: it changes nothing that the model reads as an instruction.
    """

    name: str
    value: str
    why: str
    saves: str
    is_advised: bool = False
    is_safe: bool = False
    harm: bool = False

    @property
    def line(self) -> str:
        """Return the line to type."""
        if self.name.startswith("-"):
            return f"claude {self.name}"
        return f"unset {self.name}" if self.harm else f"export {self.name}={self.value}"


class Seen(NamedTuple):
    """A switch beside an environment; `value` is what it is there, None where it is not there or cannot be seen."""

    switch: Switch
    state: State
    value: str | None


SWITCHES = (
    Switch(
        "CLAUDE_CODE_ATTRIBUTION_HEADER",
        "0",
        "no billing line at the head of the prompt, so that sessions and subagents share one cached prefix",
        "99.98% instead of 48% of first requests read the cache (motiful/cc-cache-audit, April 2026; not ours)",
        is_advised=True,
        is_safe=True,
    ),
    Switch(
        "CLAUDE_CODE_GATEWAY_HINT_HEADERS",
        "1",
        "headers say what each request is for, which tells subagents and compactions apart in the report",
        "nothing by itself",
        is_advised=True,
        is_safe=True,
    ),
    Switch(
        "CLAUDE_CODE_PROMPT_CACHE_TTL",
        "1h",
        "caches for an hour, for those who come back after more than five minutes; see what `scrimp replay` says of "
        "5m and 1h. In safe mode Scrimp chooses",
        f"{_HOURS} (6,927 recorded requests); without pauses it costs more",
    ),
    Switch(
        "CLAUDE_CODE_SUBAGENT_PROMPT_CACHE_TTL",
        "5m",
        "keeps subagents from paying for the hour that the variable above asks for, where they do not pause",
        NOT_MEASURED,
    ),
    Switch(
        "--exclude-dynamic-system-prompt-sections",
        "",
        "moves the one path in the system prompt into the first message, so that folders and machines share the rest",
        NOT_MEASURED,
        is_advised=True,
    ),
    Switch(
        "ENABLE_TOOL_SEARCH",
        "false",
        "sends every tool in every prompt; left alone, most are loaded when they are wanted",
        "31,000 instead of 60,500 characters of tools in a prompt (measured on loopback)",
        harm=True,
    ),
    Switch(
        "CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS",
        "1",
        "also switches the loading of tools on demand off",
        "a first request of 50 instead of 79 kB (measured on loopback)",
        harm=True,
    ),
    Switch(
        "DISABLE_PROMPT_CACHING",
        "1",
        "no part of any prompt is read from the cache",
        "what `scrimp replay` shows between none and 5m",
        harm=True,
    ),
)


def seen(environ: Mapping[str, str], *, has_claude: bool) -> Iterator[Seen]:
    """Look for each switch in an environment; nothing that helps is advised where there is no Claude Code."""
    for switch in SWITCHES:
        value = environ.get(switch.name)
        yield Seen(switch, _state(switch, value, has_claude=has_claude), value)


def _state(switch: Switch, value: str | None, *, has_claude: bool) -> State:
    if value is not None:
        return "advised" if switch.harm and value == switch.value else "set"
    return "advised" if switch.is_advised and has_claude else "not set"


def settable(environ: Mapping[str, str]) -> tuple[Switch, ...]:
    """Return what a run may set: what is safe, and what the user has not set either way.

    The billing line is left to a subscription, whose account may rest on it; that was not tested.
    """
    has_key = any(environ.get(name) for name in _KEYS)
    return tuple(
        switch
        for switch in SWITCHES
        if switch.is_safe
        and switch.name not in environ
        and (has_key or switch.name != "CLAUDE_CODE_ATTRIBUTION_HEADER")
    )
