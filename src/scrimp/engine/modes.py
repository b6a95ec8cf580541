"""What may be done to a request: the owner's setting, less for a subscription, less where the request asks so.

A subscription is not billed by the token, so there is nothing to save on it: its requests are only observed.
"""

from __future__ import annotations

from collections.abc import Mapping

from scrimp.core.plan.planning import Mode

#: What each mode allows, least first.
ORDER: tuple[Mode, ...] = ("observe", "safe", "full")
#: How a token of a subscription begins, and the beta that Claude Code sends with it.
_TOKEN = "sk-ant-oat"  # noqa: S105 - a prefix, no secret
_BETA = "oauth-"


def is_subscription(headers: Mapping[str, str]) -> bool:
    """Whether the credential of a request (lower-case header names) belongs to a subscription."""
    bearer = headers.get("authorization", "").strip().rpartition(" ")[2]
    credentials = (bearer, headers.get("x-api-key", "").strip())
    return any(each.startswith(_TOKEN) for each in credentials) or _BETA in headers.get("anthropic-beta", "")


def mode_of(headers: Mapping[str, str], setting: Mode) -> Mode:
    """Return the mode of one request. Its header `scrimp-mode` may lower what it is allowed, never raise it."""
    if setting == "observe" or is_subscription(headers):
        return "observe"
    asked = headers.get("scrimp-mode", "").strip().lower()
    return next((mode for mode in ORDER[: ORDER.index(setting)] if mode == asked), setting)
