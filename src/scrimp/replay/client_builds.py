"""What builds of Claude Code do that changes a prompt's cache, by build; each rule with where it is known from."""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

_BUILD = re.compile(r"^claude-code/(\d+)\.(\d+)\.(\d+)")

#: From here on the client asks for a suggestion of the next prompt whenever a turn has ended (its changelog, prompt
#: suggestions), and models think unless told not to.
_SUGGESTS_FROM = (2, 0, 67)
#: Up to here a prompt of the client's own (a skill's text, an accepted plan) is asked without thinking: issue 21919 of
#: anthropics/claude-code; recorded sessions show it up to 2.1.37 and no longer in 2.1.38.
_CLIENT_PROMPTS_UNTHINKING_UPTO = (2, 1, 37)
#: From here on a conversation that is taken up again is sent as it was (facts on clients); 2.1.197 renders it anew.
_RESUMES_UNCHANGED_FROM = (2, 1, 330)


class ClientBuild(msgspec.Struct, frozen=True):
    """What a client does of its own accord.

    * `suggests`: it asks for a suggestion of the next prompt when a turn has ended.
    * `thinks_by_default`: it asks for thinking without being told.
    * `client_prompts_unthinking`: it asks without thinking where the prompt is its own.
    * `resumes_anew`: it renders the first message anew when a conversation is taken up again.
    """

    suggests: bool = False
    thinks_by_default: bool = True
    client_prompts_unthinking: bool = False
    resumes_anew: bool = False


@lru_cache(maxsize=256)
def build_of(client: str | None) -> ClientBuild:
    """Return the habits of a client by its name, as in "claude-code/2.1.7"; others have none."""
    found = _BUILD.match(client or "")
    if found is None:
        return ClientBuild()
    build = (int(found[1]), int(found[2]), int(found[3]))
    return ClientBuild(
        suggests=build >= _SUGGESTS_FROM,
        thinks_by_default=build >= _SUGGESTS_FROM,
        client_prompts_unthinking=build <= _CLIENT_PROMPTS_UNTHINKING_UPTO,
        resumes_anew=build < _RESUMES_UNCHANGED_FROM,
    )
