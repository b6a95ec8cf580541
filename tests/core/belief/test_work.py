"""Task types of transcripts: what a prompt says, and how a type is named."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.belief.work import (
    WORK,
    clean,
    cluster_of,
    command_of,
    is_acknowledgement,
    is_local,
    name_type,
    tool_cluster,
    with_agent_type,
)
from scrimp.replay.traces.discover import Reading

#: Prompts written for this test, none from the recorded data.
PROMPTS = {
    "fix bug": ["The login page crashes on Safari, please fix it", "I get a KeyError traceback in utils.py"],
    "review": ["Please review my last change", "give me feedback on this module"],
    "git & PR": ["commit everything and push", "open a pull request for this branch", "rebase onto main"],
    "tests": ["write unit tests for the parser", "increase test coverage of the billing module"],
    "docs": ["update the README", "write documentation for the config options"],
    "refactor": ["refactor the session class", "rename foo to bar everywhere"],
    "implement feature": ["add a dark mode toggle", "build a page that lists invoices", "create a CLI for it"],
    "explain": ["explain how the scheduler works", "why is this function async?", "is it thread-safe?"],
    "plan & design": ["make a plan for the migration", "let's brainstorm the design of the plugin API"],
    "research": ["investigate which queue library is best", "compare these two approaches"],
    "set-up & release": ["install docker and configure it", "deploy to staging"],
    "data & queries": ["write a SQL query for monthly revenue", "plot this dataset"],
    "run commands": ["run the script", "execute the migration"],
    "write text": ["translate this into French", "draft an email to the customer"],
    "implement plan": ["Implement the following plan:\n\n# Fix the tests"],
}


@pytest.mark.parametrize(
    ("work", "prompt"), [(work, prompt) for work, prompts in PROMPTS.items() for prompt in prompts]
)
def test_prompts_are_sorted_by_what_they_ask_for(work: str, prompt: str) -> None:
    """The verb of the request decides, not whatever it is about."""
    assert work == cluster_of(prompt)


@pytest.mark.parametrize(
    ("work", "prompt"),
    [
        ("fix bug", "このバグを直して"),
        ("tests", "为这个模块写测试"),
        ("implement feature", "ログイン画面を実装"),
        ("explain", "这是什么意思"),
        ("fix bug", "исправь ошибку в парсере"),
        ("implement feature", "añade un botón"),
    ],
)
def test_other_languages_are_understood(work: str, prompt: str) -> None:
    """People prompt in their own language."""
    assert work == cluster_of(prompt)


@pytest.mark.parametrize("prompt", ["hi", "", "42", "ENT-108", "🎉"])
def test_a_prompt_that_says_nothing_has_no_cluster(prompt: str) -> None:
    """The next prompt, or the tools, have to say it."""
    assert cluster_of(prompt) is None


@given(st.text(max_size=500))
def test_any_prompt_is_sorted_into_the_table_or_not_at_all(prompt: str) -> None:
    """Names come from the table, never from the prompt."""
    assert cluster_of(prompt) in {None, *WORK, "implement plan", "continued session"}


@pytest.mark.parametrize(
    ("prompt", "command"),
    [
        ("<command-message>x</command-message>\n<command-name>/review</command-name>", "/review"),
        ("<command-name>init</command-name>\n <command-args></command-args>", "/init"),
        ("/plugin:do-it now", "/plugin:do-it"),
        (" /review", "/review"),
        ("/usr/bin/env is missing", None),
        ("please /review", None),
        ("what does <command-name>/x</command-name> mean", None),
        ("", None),
    ],
)
def test_commands_are_told_from_prompts(prompt: str, command: str | None) -> None:
    """A command starts the prompt; a path is none."""
    assert command == command_of(prompt)


def test_commands_that_the_client_handles_are_local() -> None:
    """They send nothing."""
    assert [True, True, False, False] == [is_local(each) for each in ("/clear", "/model", "/review", "/init")]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("[Request interrupted by user]", ""),
        ("<local-command-stdout>x</local-command-stdout>", ""),
        ("<bash-input>ls</bash-input>", ""),
        ("<task-notification>\n<task-id>1</task-id>", ""),
        ("<system-reminder>a\nb</system-reminder>\nfix it", "fix it"),
        ("<ide_opened_file>a.py</ide_opened_file>fix it", "fix it"),
        (" a < b ", "a < b"),
    ],
)
def test_what_clients_add_is_not_the_prompt(text: str, left: str) -> None:
    """Notes alone leave nothing; around a prompt they are cut away."""
    assert left == clean(text)


@pytest.mark.parametrize(
    ("prompt", "yes"), [("yes", True), ("Ok, go ahead!", True), ("1", True), ("yes, but fix it", False)]
)
def test_acknowledgements(prompt: str, yes: bool) -> None:
    """Only words that say to go on."""
    assert yes is is_acknowledgement(prompt)


@pytest.mark.parametrize(
    ("tools", "kind"),
    [
        ({"Read", "Edit"}, "other: edits files"),
        ({"Read", "Bash"}, "other: runs commands"),
        ({"WebSearch"}, "other: searches the web"),
        ({"Grep"}, "other: reads files"),
        ({"mcp__x"}, "other: conversation"),
    ],
)
def test_tools_say_what_prompts_do_not(tools: set[str], kind: str) -> None:
    """The strongest thing done names the work."""
    assert kind == tool_cluster(tools)


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        (("main", None, None, "tests"), "tests"),
        ((None, None, None, "tests"), "tests"),
        (("main", None, "/review", "tests"), "/review"),
        (("subagent", "Explore", None, "tests"), "subagent: Explore"),
        (("subagent", "general-purpose", None, "tests"), "subagent general-purpose: tests"),
        (("subagent", "Explore", "skill: pdf", "tests"), "subagent Explore: skill: pdf"),
        (("subagent", None, None, "tests"), "subagent: tests"),
        (("compaction", None, "/review", "tests"), "/compact"),
        (("auxiliary", None, "title", "tests"), "auxiliary: title"),
        (("auxiliary", None, None, "tests"), "auxiliary: side request"),
    ],
)
def test_types_are_readable(parts: tuple[str | None, str | None, str | None, str], name: str) -> None:
    """Class, agent, activity and cluster, as far as each says something."""
    assert name == name_type(*parts)


AGENT_TYPES = st.sampled_from(["Explore", "general-purpose", "critic"])


@given(AGENT_TYPES, st.sampled_from([None, "/review", "skill: pdf"]), st.sampled_from(list(WORK)))
def test_an_agents_type_may_come_later(agent_type: str, activity: str | None, cluster: str) -> None:
    """Naming without the agent's type and adding it is the same as naming with it."""
    without = name_type("subagent", None, activity, cluster)
    assert name_type("subagent", agent_type, activity, cluster) == with_agent_type(without, agent_type)
    assert [None, "tests"] == [with_agent_type(each, agent_type) for each in (None, "tests")]


@pytest.mark.data
def test_recorded_sessions_give_readable_types(data: Path, record_property: Callable[[str, object], None]) -> None:
    """At least 8 types, none with nearly everything, and next to nothing that only its tools could name."""
    exchanges = Reading([str(data / "claude_code_sessions")]).finish().exchanges
    types = Counter(exchange.task_type for exchange in exchanges)
    (largest, count) = types.most_common(1)[0]
    unnamed = sum(count for name, count in types.items() if (name or "other").startswith("other"))
    shares = json.dumps({"types": len(types), "largest": largest, "share": round(count / len(exchanges), 3)})
    record_property("measured", f"task types of the recorded sessions: {shares}, unnamed {unnamed}")
    assert len(types) >= 8
    assert count <= len(exchanges) / 3
    assert unnamed <= len(exchanges) / 20
