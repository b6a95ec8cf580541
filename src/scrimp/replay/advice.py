"""What each cause of a loss means and what to do about it, one plain line each: the words of `scrimp audit`.

What mends volatile text and drifting tools is said in the words of the lever that mends them (`core.levers.order`).

The client switches are those that were seen to work on the wire (facts on clients, section 2.8).
"""

from __future__ import annotations

from typing import NamedTuple

from scrimp.core.levers.order import FIXES, TO_THE_TAIL

VARIABLE = "variable content before stable content"
IDLE = "caching across long idle gaps"
FAN_OUT = "fan-out written several times"
PREMIUM = "1h premium never used"
UNREAD = "marks never read"
HELD = "pings nobody came back to"
CHANGED = "prefix changed"
REPLACED = "history replaced"
REACH = "marks out of reach"
UNEXPLAINED = "unexplained"


class Advice(NamedTuple):
    """The pitfall that a cause belongs to, what happened, and what to change."""

    kind: str
    meaning: str
    fix: str


_STATE_ONCE = "settle it before the first request and keep it for the session"

ADVICE: dict[str, Advice] = {
    "date": Advice(VARIABLE, "a date or time of day changed in front of the cached text", FIXES["date"]),
    "id": Advice(VARIABLE, "an id changed in front of the cached text", f"Leave it out, or {TO_THE_TAIL}."),
    "counter": Advice(VARIABLE, "a number changed in front of the cached text", f"Leave it out, or {TO_THE_TAIL}."),
    "git_status": Advice(
        VARIABLE,
        "the state of the repository changed in front of the cached text",
        "Start Claude Code with --exclude-dynamic-system-prompt-sections; elsewhere " + TO_THE_TAIL + ".",
    ),
    "billing_header": Advice(
        VARIABLE,
        "Claude Code's billing line at the head of the system prompt changed",
        "Set CLAUDE_CODE_ATTRIBUTION_HEADER=0.",
    ),
    "front_varies": Advice(
        VARIABLE,
        "a session read nothing of what another one of the same client had just cached: tools or system differ",
        "Set CLAUDE_CODE_ATTRIBUTION_HEADER=0 and start Claude Code with --exclude-dynamic-system-prompt-sections.",
    ),
    "system_edited": Advice(CHANGED, "the text of the system prompt changed", f"{_STATE_ONCE.capitalize()}."),
    "system_blocks": Advice(CHANGED, "the system prompt has another number of blocks", f"{_STATE_ONCE.capitalize()}."),
    "system_changed": Advice(CHANGED, "the API says that the system prompt changed", f"{_STATE_ONCE.capitalize()}."),
    "tools_added_or_removed": Advice(
        CHANGED,
        "tools came or went, and everything behind them was written anew",
        "Offer the same tools all along; load rare ones by tool search (leave ENABLE_TOOL_SEARCH alone).",
    ),
    "tools_reordered": Advice(CHANGED, "the same tools came in another order", FIXES["tools_reordered"]),
    "tool_changed": Advice(CHANGED, "the definition of a tool changed", "Keep what varies out of tool descriptions."),
    "tools_changed": Advice(CHANGED, "the API says that the tools changed", "Offer the same tools in the same order."),
    "key_order": Advice(CHANGED, "the same JSON came with its keys in another order", FIXES["key_order"]),
    "model": Advice(
        CHANGED,
        "another model was asked, and each model has a cache of its own",
        "Change models between sessions, not within.",
    ),
    "model_changed": Advice(
        CHANGED, "the API says that model or speed changed", "Change models between sessions, not within."
    ),
    "speed": Advice(CHANGED, "fast mode was switched, which has a cache of its own", "Choose the speed per session."),
    "thinking": Advice(
        CHANGED,
        "thinking was switched or got another budget, which loses the messages",
        "Keep one thinking mode per session.",
    ),
    "effort": Advice(
        CHANGED,
        "another effort was asked for, which loses the messages",
        "Keep one effort per session, or change it in a message (Claude Code does on newer models).",
    ),
    "tool_choice": Advice(
        CHANGED, "tool_choice changed, which loses the messages", "Leave tool_choice alone; ask in words."
    ),
    "images": Advice(
        CHANGED,
        "the first image came in or the last one left, which loses the messages",
        "Keep images of a session in its history, or ask about them in a session of their own.",
    ),
    "citations": Advice(CHANGED, "citations were switched on or off", "Switch citations on from the start, or never."),
    "output_format": Advice(
        CHANGED,
        "the output format changed, which loses the messages",
        "Ask for JSON in a request of its own, not mid-way.",
    ),
    "task_budget": Advice(CHANGED, "the task budget changed, which loses the messages", "Set the task budget once."),
    "message_edited": Advice(
        CHANGED, "an earlier message was rewritten", "Only append; state corrections in a new message."
    ),
    "messages_changed": Advice(
        CHANGED, "the API says that earlier messages changed", "Only append to the conversation."
    ),
    "resumed": Advice(
        CHANGED,
        "the conversation was taken up again, and the client rendered its first message anew",
        "Use a newer Claude Code, which resumes byte for byte.",
    ),
    "thinking_dropped": Advice(
        CHANGED,
        "the model forgets the thinking of finished turns, so what came after it was written anew",
        "Use a model that keeps its thinking.",
    ),
    "result_cleared": Advice(
        REPLACED,
        "old tool results were cleared in the middle of a warm cache",
        "Clear rarely and much at once, best when the cache is cold anyway.",
    ),
    "compaction": Advice(
        REPLACED,
        "a summary took the place of the conversation and was written to the cache",
        "Compact late and when the cache is cold; /clear between tasks costs less than carrying them along.",
    ),
    "rewound": Advice(
        REPLACED, "the conversation went back and on from there", "None needed: going back is cheaper than going on."
    ),
    "ttl_expired": Advice(
        IDLE,
        "the cache ran out in a pause, and a large prefix was written anew; holding it would have cost less",
        "Mark for an hour: CLAUDE_CODE_PROMPT_CACHE_TTL=1h, or with the API ttl 1h in cache_control.",
    ),
    "idle_too_long": Advice(
        IDLE,
        "the cache ran out in a pause so long that holding it would have cost more",
        "Start a new session or /compact before a long pause, so that less is written anew.",
    ),
    "concurrency": Advice(
        FAN_OUT,
        "requests sent at the same moment each wrote the prefix that they share",
        "Send one, wait for its first token, then send the others.",
    ),
    "look_back": Advice(
        REACH,
        "one turn appended so much that the last entry lay out of reach of the next mark (20 blocks)",
        "Set a second mark on the last block of the turn before.",
    ),
    "not_marked": Advice(
        REACH, "what was cached was not marked any more, so nothing looked for it", "Mark the end of each request."
    ),
    "below_minimum": Advice(
        REACH, "the marked prefix is shorter than the model caches", "Mark further behind, or leave the mark out."
    ),
    "hour_unused": Advice(
        PREMIUM,
        "marks of an hour were paid for, and no pause was longer than five minutes",
        "Set CLAUDE_CODE_PROMPT_CACHE_TTL=5m for such work (subagents: CLAUDE_CODE_SUBAGENT_PROMPT_CACHE_TTL=5m).",
    ),
    "never_read": Advice(
        UNREAD,
        "what was written to the cache was never read: one request and no more",
        "Leave the marks out of one-shot requests.",
    ),
    "pings_in_vain": Advice(
        HELD,
        "Scrimp held a cache by pings after the last request of a conversation, and nobody has come back to it yet",
        "None needed: the account's guard bounds it. To hold no cache at all, set hold = false (SCRIMP_HOLD=false).",
    ),
    "unknown": Advice(
        UNEXPLAINED,
        "nothing recorded shows why: the API let an entry go early, or the prompt changed unseen",
        "Run the client through `scrimp run`: the gateway sees the requests and can say which byte changed.",
    ),
}


#: What to do about an entry that ran out in a pause of more than an hour, where holding it would have paid.
HOURS_FIX = "Send the last request again with max_tokens 0 before the hour is over, as long as you mean to come back."


def advice_for(cause: str) -> Advice:
    """Return what is to be said of a cause; one that is not in the table is shown as it is."""
    return ADVICE.get(cause) or Advice(
        CHANGED, f"{cause} changed, and what stood behind it was written anew", "Keep it the same."
    )
