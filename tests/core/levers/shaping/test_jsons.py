"""JSON written shorter: exact in every form that tools write, left alone in every other."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scrimp.core.levers.shaping.contract import Hint
from scrimp.core.levers.shaping.jsons import MARK, SHAPER

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
ROWS = st.lists(st.fixed_dictionaries({"number": SCALARS, "state": st.sampled_from(["open", None]), "tags": SCALARS}))
VALUES = st.recursive(
    ROWS | st.lists(SCALARS) | st.dictionaries(st.text(), SCALARS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
FORMS: dict[str, Callable[[Any], str]] = {
    "spaced": json.dumps,
    "spaced, not ascii": lambda value: json.dumps(value, ensure_ascii=False),
    "compact": lambda value: json.dumps(value, separators=(",", ":")),
    "compact, not ascii": lambda value: json.dumps(value, separators=(",", ":"), ensure_ascii=False),
    "indented by 1": lambda value: json.dumps(value, indent=1),
    "indented by 2": lambda value: json.dumps(value, indent=2),
    "indented by 4, not ascii": lambda value: json.dumps(value, indent=4, ensure_ascii=False),
    "indented by tabs": lambda value: json.dumps(value, indent="\t"),
    "odd blanks": lambda value: json.dumps(value, separators=(" ,", " : ")),
    "lines": lambda value: "\n".join(map(json.dumps, value)),
    "lines, compact": lambda value: "\n".join(json.dumps(row, separators=(",", ":")) for row in value),
}
ENDS = st.sampled_from(["", "\n", "\r\n", " \n\n"])
LIKE = [{"number": n, "state": "open", "name": f"é{n}"} for n in range(5)]


def shaped(text: str) -> str | None:
    """Return what the shaper makes of the text."""
    return SHAPER.shape(text, Hint())


def assert_exact(text: str) -> None:
    """Hold that the text is left alone, or comes back from what is made of it."""
    shorter = shaped(text)
    assert shorter == shaped(text)
    if shorter is not None:
        assert shorter.startswith(MARK)
        assert text == SHAPER.restore(shorter)


@given(VALUES, st.sampled_from(sorted(FORMS)), ENDS)
@example([{"number": 1.5e300, "state": "\ud800"}, {"number": 2, "state": "#columns"}], "spaced", "\n")
def test_any_json_in_any_form_comes_back(value: Any, form: str, end: str) -> None:
    """Whatever was written in whatever form, restoring gives it back to the character."""
    assert_exact(FORMS[form](value) + end)


@given(st.text() | st.text(alphabet='[]{}":,\\u0 \n1e.-+#columns'), st.sampled_from(["", "[", "{", MARK, f"{MARK}\n["]))
def test_any_text_comes_back(text: str, start: str) -> None:
    """What only looks like JSON is left alone or comes back; nothing but ValueError is raised."""
    assert_exact(start + text)
    with suppress(ValueError):
        assert isinstance(SHAPER.restore(start + text), str)


@pytest.mark.parametrize("form", sorted(set(FORMS) - {"indented by tabs", "odd blanks"}))
def test_every_common_form_is_shaped(form: str) -> None:
    """Each form that tools write by default is recognised: its keys stand once and its values are legible."""
    text = FORMS[form](LIKE) + "\n"
    shorter = shaped(text) or ""
    assert 1 == shorter.count("number")
    assert "é3" in shorter
    assert len(shorter) < 0.8 * len(text)
    assert text == SHAPER.restore(shorter)


@pytest.mark.parametrize("form", ["indented by tabs", "odd blanks"])
def test_forms_that_could_not_be_derived_are_left_alone(form: str) -> None:
    """Blanks that no common writer sets are content."""
    assert shaped(FORMS[form](LIKE)) is None


@pytest.mark.parametrize(
    "token",
    [
        "1e5",
        "1.0",
        "-0",
        "123456789012345678901234567890",
        r'"\/"',
        r'"\u00E9"',
        r'"\ud83d\ude00"',
        '"\u2028"',
    ],
)
def test_tokens_keep_their_spelling(token: str) -> None:
    """A number or string may be spelled in ways that no writer of ours would: only blanks go then."""
    text = f'{{"first": [1, 2, 3, 4], "second": {token}, "second": {token}}}'
    shorter = shaped(text)
    assert f'{MARK}\n{{"first":[1,2,3,4],"second":{token},"second":{token}}}' == shorter
    assert text == SHAPER.restore(shorter)


@pytest.mark.parametrize(
    "text", ["[NaN]", "[1E400, 1]", '[1, "\\ud800"]', "[1, 2", "[INFO] started", "{}x", "[" * 100_000, "5", '"a"', ""]
)
def test_what_is_no_plain_json_is_left_alone(text: str) -> None:
    """NaN, lone surrogates, torn or deeply nested JSON, log lines, scalars."""
    assert shaped(text) is None


def test_what_the_model_reads() -> None:
    """The mark says that there are tables and how the text was written; types stay exact."""
    rows = [{"number": n, "state": None, "is_new": n > 1, "name": str(n)} for n in (1, 2)]
    mark = '#json tables indent=2 end="\\n"\n'
    table = '[["#columns","number",{"every state":null},"is_new","name"],[1,false,"1"],[2,true,"2"]]'
    assert mark + table == shaped(json.dumps(rows, indent=2) + "\n")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1]",
        "#jso\n[1]",
        "#json x\n[1]",
        "#json tables\n[",
        "#json lines\n5",
        "#json\n\ud800",
        "#json indent=9\n[1]",
        '#json tables\n[["#columns","a"],[1,2]]',
        '#json end="x"\n[1]',
        "#json tables\n" + "[" * 100_000,
    ],
)
def test_what_was_not_shaped_is_refused(text: str) -> None:
    """Restoring another text, or a torn one, is a ValueError."""
    with pytest.raises(ValueError):  # noqa: PT011 - which of the rules is broken is the example's business
        SHAPER.restore(text)


# --- recorded data -----------------------------------------------------------------------------------------------


def tau2_outputs(path: Path) -> Iterator[tuple[str, str]]:
    """Yield each tool output of the dialogues in the file, with its tool's name."""
    for dialogue in json.loads(path.read_bytes())["simulations"]:
        names: dict[str, str] = {}
        for message in dialogue["messages"]:
            names |= {call["id"]: call["name"] for call in message.get("tool_calls") or ()}
            if message["role"] == "tool":
                yield names.get(message["id"], "?"), message["content"]


@pytest.mark.data
def test_outputs_of_json_tools(data: Path, record_property: Callable[[str, object], None]) -> None:
    """Every file of tau2 loses at least 14% of its tool output's characters, and nothing of what they say."""
    files = sorted((data / "tau2").glob("*.json"))
    assert files
    for path in files:
        before: Counter[str] = Counter()
        after: Counter[str] = Counter()
        for tool, text in tau2_outputs(path):
            assert_exact(text)
            before[tool] += len(text)
            after[tool] += min(len(text), len(shaped(text) or text))
        saved = ", ".join(f"{tool} {1 - after[tool] / before[tool]:.1%}" for tool in before if before[tool] > 2000)
        total = 1 - after.total() / before.total()
        record_property("measured", f"json alone saves {total:.1%} of {path.stem}'s tool output ({saved})")
        assert total >= 0.14


@pytest.mark.data
def test_every_key_of_lost_in_the_middle_stands_inline(
    data: Path, record_property: Callable[[str, object], None]
) -> None:
    """A lookup table shaped has each key with its value in it, as they were."""
    (path,) = (data / "lost_in_middle").glob("*.jsonl.gz")
    before, after = 0, 0
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            records = json.loads(line)["ordered_kv_records"]
            for text in (json.dumps(dict(records), indent=1), json.dumps(dict(records))):
                shorter = shaped(text) or text
                assert text == SHAPER.restore(shorter)
                assert all(f'"{key}":"{value}"' in shorter for key, value in records)
                before, after = before + len(text), after + min(len(text), len(shorter))
    record_property("measured", f"json alone saves {1 - after / before:.1%} of lost_in_middle")
