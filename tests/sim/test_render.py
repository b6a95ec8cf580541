"""The rendered prompt: cache order, what stays when something changes, and lengths that follow from the hashes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.sim import models, tokens
from scrimp.sim.models import Model
from scrimp.sim.render import TIERS, Prompt, render
from scrimp.sim.rules import Rules
from scrimp.sim.signatures import Signature

MARK = {"type": "ephemeral"}
USE = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"a": 1, "b": 2}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "ok"}
Change = dict[str, Any]


def _model(name: str) -> Model:
    model = models.find(name)
    assert model is not None
    return model


OPUS = _model("claude-opus-5-5")


def _tool(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "description": f"Does {name}.", "input_schema": {"type": "object"}, **fields}


def _request(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "model": OPUS.name,
        "max_tokens": 100,
        "system": "You are careful.",
        "tools": [_tool("Bash"), _tool("Read")],
        "messages": [
            {"role": "user", "content": "go"},
            {"role": "assistant", "content": [{"type": "text", "text": "I will"}, USE]},
            {"role": "user", "content": [RESULT]},
        ],
    }
    return {**base, **changes}


def _kept_tiers(before: Prompt, after: Prompt) -> list[str]:
    """Return the tiers whose end `after` still has in common with `before`."""
    shared = set(before.hashes)
    ends = {position.tier: hash_ for position, hash_ in zip(after.positions, after.hashes, strict=True)}
    return [tier for tier in TIERS if ends.get(tier) in shared]


def test_cache_order_is_tools_system_messages() -> None:
    """The JSON's own order of fields does not count."""
    prompt = render(dict(reversed(list(_request().items()))), OPUS, Rules())
    assert [
        "tools.0",
        "tools.1",
        "system.0",
        "messages.0.content.0",
        "messages.1.content.0",
        "messages.1.content.1",
        "messages.2.content.0",
    ] == [position.path for position in prompt.positions]


IMAGE = {"type": "image", "source": {"type": "url", "url": "u"}}
CITED = {"type": "document", "source": {"type": "text", "data": "d"}, "citations": {"enabled": True}}
FIRST, *REST = _request()["messages"]


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"max_tokens": 5, "stream": True, "metadata": {"user_id": "u"}, "stop_sequences": ["x"]}, TIERS),
        (
            {"cache_control": MARK, "system": [{"type": "text", "text": "You are careful.", "cache_control": MARK}]},
            TIERS,
        ),
        ({"tool_choice": {"type": "auto"}, "speed": "standard", "output_config": {"effort": "medium"}}, TIERS),
        ({"thinking": {"type": "adaptive", "display": "omitted"}}, TIERS),
        ({"tool_choice": {"type": "none"}}, ("tools", "system")),
        ({"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}, ("tools", "system")),
        ({"thinking": {"type": "enabled", "budget_tokens": 2_048}}, ("tools", "system")),
        ({"output_config": {"effort": "high"}}, ("tools", "system")),
        ({"output_config": {"format": {"type": "json_schema"}}}, ("tools", "system")),
        ({"output_config": {"task_budget": {"type": "tokens", "total": 20_000}}}, ("tools", "system")),
        ({"messages": [FIRST, *REST, {"role": "user", "content": [IMAGE]}]}, ("tools", "system")),
        ({"messages": [{"role": "user", "content": "come"}, *REST]}, ("tools", "system")),
        ({"system": "You are brave."}, ("tools",)),
        ({"messages": [FIRST, *REST, {"role": "user", "content": [CITED]}]}, ("tools",)),
        ({"tools": [*_request()["tools"], {"type": "web_search_20250305", "name": "web_search"}]}, ("tools",)),
        ({"tools": [_tool("Read"), _tool("Bash")]}, ()),
        ({"tools": [_tool("Bash"), _tool("Read"), _tool("Edit")]}, ()),
        ({"tools": [_tool("Bash"), _tool("Read", description="Reads.")]}, ()),
        ({"speed": "fast"}, ()),
    ],
)
def test_each_change_keeps_what_the_documentation_says(changes: Change, kept: tuple[str, ...]) -> None:
    """The table "what invalidates the cache", row by row, and explicit defaults that change nothing."""
    before, after = (render(request, OPUS, Rules()) for request in (_request(), _request(**changes)))
    assert list(kept) == _kept_tiers(before, after)


@pytest.mark.parametrize(
    ("rules", "changes", "kept"),
    [
        (Rules(speed_scope="system"), {"speed": "fast"}, ["tools"]),
        (Rules(thinking_tier="tools"), {"output_config": {"effort": "low"}}, []),
        (Rules(thinking_tier="system"), {"output_config": {"effort": "low"}}, ["tools"]),
        (Rules(image_salt="none"), {"messages": [{"role": "user", "content": [IMAGE]}]}, ["tools", "system"]),
    ],
)
def test_open_questions_are_switches(rules: Rules, changes: Change, kept: list[str]) -> None:
    """Where the documentation is silent or contradicts itself, the rules decide."""
    before, after = (render(request, OPUS, rules) for request in (_request(), _request(**changes)))
    assert kept == _kept_tiers(before, after)


@pytest.mark.parametrize(("salt", "common"), [("presence", 3), ("count", 1), ("none", 3)])
def test_a_second_image_costs_the_messages_only_by_count(salt: Any, common: int) -> None:
    """With "presence" the messages depend on whether there is an image, with "count" on how many."""
    one = [{"role": "user", "content": [IMAGE, {"type": "text", "text": "look"}]}]
    two = [*one, {"role": "user", "content": [IMAGE]}]
    rules = Rules(image_salt=salt)
    prompts = [render(_request(tools=[], messages=messages), OPUS, rules) for messages in (one, two)]
    assert common == len(set(prompts[0].hashes) & set(prompts[1].hashes))


def test_betas_are_a_part_of_the_key_by_wish() -> None:
    """The set of anthropic-beta values counts only where the rules say so."""
    for rules, expected in ((Rules(), 7), (Rules(betas_in_key=True), 0)):
        with_betas = render(_request(), OPUS, rules, frozenset({"b"}))
        assert expected == len(set(render(_request(), OPUS, rules).hashes) & set(with_betas.hashes))


def test_models_share_nothing() -> None:
    """The key starts with the model."""
    others = [render(_request(), _model(name), Rules()) for name in ("claude-opus-5-5", "claude-opus-5")]
    assert set() == set(others[0].hashes) & set(others[1].hashes)


def test_an_input_with_its_keys_swapped_breaks_there() -> None:
    """tool_use.input is compared byte by byte; all before it stays."""
    swapped = {**USE, "input": {"b": 2, "a": 1}}
    messages = [FIRST, {"role": "assistant", "content": [{"type": "text", "text": "I will"}, swapped]}, REST[1]]
    before, after = render(_request(), OPUS, Rules()), render(_request(messages=messages), OPUS, Rules())
    assert 5 == len(set(before.hashes) & set(after.hashes))


def test_a_deferred_tool_is_read_where_it_is_referred_to() -> None:
    """Adding one changes no prefix; its tokens stand at the reference, and its definition is a part of it."""
    found = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "tool_reference", "tool_name": "Deploy"}]}
    messages = [*_request()["messages"][:2], {"role": "user", "content": [found]}]

    def rendered(*extra: dict[str, Any]) -> Prompt:
        return render(_request(tools=[_tool("Bash"), *extra, _tool("Read")], messages=messages), OPUS, Rules())

    none, deploy = rendered(), rendered(_tool("Deploy", defer_loading=True))
    other = rendered(_tool("Deploy", defer_loading=True, description="word " * 99))
    assert none.hashes[:-1] == deploy.hashes[:-1] == other.hashes[:-1]
    assert 3 == len({none.hashes[-1], deploy.hashes[-1], other.hashes[-1]})
    assert tokens.tool_tokens(_tool("Deploy"), OPUS) + tokens.TOOL_FRAME_TOKENS + tokens.ROLE_TOKENS == (
        deploy.positions[-1].tokens
    )


def test_offering_tools_costs_their_prompt_and_forcing_one_the_rest() -> None:
    """The tool-use prompt is paid once, before the tools; a forced choice adds to the first message only."""
    opus = _model("claude-opus-4-6")
    auto = render(_request(), opus, Rules())
    forced = render(_request(tool_choice={"type": "any"}), opus, Rules())
    assert tokens.tool_tokens(_tool("Bash"), opus) + 497 == auto.positions[0].tokens
    assert [0, 0, 0, 589 - 497] == [
        later.tokens - before.tokens for later, before in zip(forced.positions[:4], auto.positions[:4], strict=True)
    ]
    bare = render(_request(tools=[], tool_choice={"type": "any"}, messages=[FIRST]), opus, Rules())
    assert tokens.text_tokens("You are careful.", opus) + tokens.text_tokens("go", opus) + tokens.ROLE_TOKENS == (
        bare.total_tokens
    )


def test_old_thinking_leaves_the_prompt_of_older_models() -> None:
    """The stripped block is no position, and what follows it is another prefix."""
    thought = {"type": "thinking", "thinking": "", "signature": Signature(500).encode()}
    turn = [FIRST, {"role": "assistant", "content": [thought, {"type": "text", "text": "done"}]}]
    for name, expected in (("claude-haiku-4-5", 1), ("claude-opus-5-5", 3)):
        first = render(_request(tools=[], system="", messages=turn), _model(name), Rules())
        after = [*turn, {"role": "user", "content": "next"}]
        second = render(_request(tools=[], system="", messages=after), _model(name), Rules())
        assert expected == len(set(first.hashes) & set(second.hashes))
        assert (expected == 3) is (second.total_tokens > 500)


def test_an_empty_message_changes_nothing_before_it() -> None:
    """Per-message effort travels with an empty system message; with it the top-level effort no longer counts."""
    noted = [FIRST, {"role": "system", "content": [], "output_config": {"effort": "low"}}]
    before = render(_request(messages=noted, output_config={"effort": "low"}), OPUS, Rules())
    later = [*noted, {"role": "user", "content": "next"}]
    after = render(_request(messages=later, output_config={"effort": "high"}), OPUS, Rules())
    assert before.hashes == after.hashes[:-1]
    unnoted = render(_request(messages=[FIRST, later[-1]], output_config={"effort": "high"}), OPUS, Rules())
    assert after.hashes[-1] != unnoted.hashes[-1]


ATTRIBUTION = "x-anthropic-billing-header: cc_version=2.1.330.62d; cch={}; cc_entrypoint=cli;"


@pytest.mark.parametrize(("rule", "shared", "positions"), [("keep", 0, 2), ("stable", 2, 2), ("strip", 1, 1)])
def test_an_attribution_block_is_seen_as_the_rules_say(rule: Any, shared: int, positions: int) -> None:
    """Its fields that change with every request are dropped, or it is kept whole, or not rendered."""
    system = [{"type": "text", "text": ATTRIBUTION}, {"type": "text", "text": "You are careful."}]
    prompts = []
    for token in ("aa", "bb"):
        named = [{"type": "text", "text": ATTRIBUTION.format(token)}, system[1]]
        prompts.append(render(_request(tools=[], system=named, messages=[]), OPUS, Rules(attribution_block=rule)))
    assert shared == len(set(prompts[0].hashes) & set(prompts[1].hashes))
    assert positions == len(prompts[0].positions)


def test_runs_of_tool_blocks_are_one_look_back_position() -> None:
    """Fifteen parallel uses and their results are two positions, or thirty without the rule."""
    uses = [{**USE, "id": f"t{at}"} for at in range(15)]
    results = [{**RESULT, "tool_use_id": f"t{at}"} for at in range(15)]
    messages = [{"role": "assistant", "content": uses}, {"role": "user", "content": results}]
    request = _request(tools=[], system="", messages=[FIRST, *messages])
    assert 2 == render(request, OPUS, Rules()).groups[-1] - render(request, OPUS, Rules()).groups[0]
    plain = render(request, OPUS, Rules(collapse_tool_runs=False)).groups
    assert 30 == plain[-1] - plain[0]


blocks = st.sampled_from(
    [
        {"type": "text", "text": "hello"},
        {"type": "text", "text": "world", "cache_control": MARK},
        IMAGE,
        {"type": "brand_new", "x": [1]},
        RESULT,
    ]
)
messages_of = st.lists(
    st.builds(
        lambda role, content: {"role": role, "content": content},
        st.sampled_from(["user", "assistant", "system"]),
        st.lists(blocks, max_size=3) | st.text(max_size=3),
    ),
    min_size=1,
    max_size=5,
)


@given(messages_of, messages_of)
def test_equal_hashes_mean_equal_lengths(left: list[Any], right: list[Any]) -> None:
    """A hash stands for everything up to it, so also for its length in tokens; appending changes nothing before."""
    short, longer = (render(_request(messages=each), OPUS, Rules(image_salt="none")) for each in (left, left + right))
    assert short.hashes == longer.hashes[: len(short.hashes)]
    lengths: dict[bytes, int] = {}
    for prompt in (short, longer):
        for hash_, end in zip(prompt.hashes, prompt.ends, strict=True):
            assert end == lengths.setdefault(hash_, end)


@given(messages_of)
def test_string_content_renders_like_one_text_block(messages: list[Any]) -> None:
    """Clients collapse unmarked content to a string and back."""

    def spelled(spell: Callable[[str], Any]) -> list[Any]:
        return [
            {**each, "content": spell(each["content"])}
            if isinstance(each["content"], str) and each["content"]
            else each
            for each in messages
        ]

    as_list = spelled(lambda text: [{"type": "text", "text": text, "cache_control": MARK}])
    both = [render(_request(messages=each), OPUS, Rules()) for each in (messages, as_list)]
    assert (both[0].hashes, both[0].ends) == (both[1].hashes, both[1].ends)
