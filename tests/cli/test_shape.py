"""`scrimp shape`: sizes, money and the proof that nothing is lost, of a text, a session and a folder of them."""

from __future__ import annotations

import gzip
import json
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from scrimp.cli.main import cli
from scrimp.core.levers.shaping.shape import Hint, shape
from scrimp.errors import UsageError
from scrimp.replay import shaping
from scrimp.upstream.pricefeed import load_current_book
from tests.cli.asked import told, told_json
from tests.replay.transcripts import Transcript

_run = partial(told, "shape")
_json = partial(told_json, "shape")

FLIGHTS = json.dumps([{"flight": f"HAT{n:03}", "origin": "SFO", "price": 100 + n} for n in range(30)])


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Return a file that a tool could have written."""
    path = tmp_path / "flights.json"
    path.write_text(FLIGHTS, encoding="utf-8")
    return path


@pytest.fixture
def sessions(tmp_path: Path) -> Path:
    """Return a folder with one session that holds the same text as a result."""
    session = Transcript()
    session.user(0, "book me a flight")
    session.answer(1, "m1", 10_000)
    session.result(2, FLIGHTS)
    return session.kept_under(tmp_path)


def _refused(*arguments: object, given: bytes = b"") -> UsageError:
    with pytest.raises(UsageError) as caught:
        CliRunner().invoke(cli, ["shape", *map(str, arguments)], input=given, catch_exceptions=False)
    assert (2, True) == (caught.value.exit_code, bool(caught.value.hint))
    return caught.value


def test_a_text_is_shaped_and_restored(output: Path) -> None:
    """Its sizes are those of `shape`, each share of them adds up, and it is restored."""
    answer = _json(output)
    expected = shape(FLIGHTS)
    assert (len(FLIGHTS), len(expected.text), list(expected.steps), True) == (
        answer["characters_before"],
        answer["characters_after"],
        answer["shapers"],
        answer["restored"],
    )
    assert len(expected.text) < len(FLIGHTS)
    assert pytest.approx(1 - len(expected.text) / len(FLIGHTS)) == answer["share_saved"]
    assert answer["tokens_after"] < answer["tokens_before"]


def test_money_is_the_models(output: Path) -> None:
    """Writing and reading at its rates, as `scrimp prices` lists them; opus 5.5 writes at $5 and reads at $0.20."""
    answer = _json(output)
    tokens = answer["tokens_before"]
    assert pytest.approx((tokens * 5 / 1e6, tokens * 0.2 / 1e6)) == (
        answer["write_usd_before"],
        answer["read_usd_before"],
    )
    assert answer["write_usd_after"] < answer["write_usd_before"]
    assert load_current_book().find(answer["model"])


def test_an_unknown_model_has_no_price(output: Path) -> None:
    """Unknown, never zero, and it is said; the sizes are there."""
    answer = _json(output, "--model", "gpt-9")
    money = [answer[f"{kind}_usd_{when}"] for kind in ("write", "read") for when in ("before", "after")]
    assert ([None] * 4, True) == (money, answer["tokens_before"] > 0)
    assert "no price is known for gpt-9" in _run(output, "--model", "gpt-9")


def test_the_shaped_text_is_written(output: Path, tmp_path: Path) -> None:
    """To a new file, or alone to standard output; a file that is there is left."""
    target = tmp_path / "shaped.txt"
    _run(output, "--out", target)
    assert shape(FLIGHTS).text == target.read_text(encoding="utf-8") == _run(output, "--out", "-")
    assert "already there" in _refused(output, "--out", output).message
    assert FLIGHTS == output.read_text(encoding="utf-8")
    assert "cannot be written" in _refused(output, "--out", tmp_path / "gone" / "x").message


def test_standard_input_is_a_text(output: Path) -> None:
    """As the file of the same words is; line ends stay as they are."""
    result = CliRunner().invoke(cli, ["shape", "-", "--json"], input=output.read_bytes())
    assert _json(output) == json.loads(result.stdout)
    kept = CliRunner().invoke(cli, ["shape", "-", "--out", "-"], input=b"a\r\nb\rc\n")
    assert b"a\r\nb\rc\n" == kept.stdout_bytes


def test_the_tool_is_a_hint(tmp_path: Path) -> None:
    """`--tool` is what `shape` is told; with it a session is a text, too."""
    session = Transcript()
    session.user(0, "hi")
    path = tmp_path / "s1.jsonl"
    path.write_bytes(session.source().data)
    answer = _json(path, "--tool", "Bash")
    text = path.read_text(encoding="utf-8")
    assert ("Bash", list(shape(text, Hint("Bash")).steps)) == (answer["tool"], answer["shapers"])


def test_sessions_are_summed_up_by_tool(sessions: Path) -> None:
    """A folder, its one file and the file packed say the same, and each tool's sums are those of its texts."""
    file = sessions / "shop" / "s1.jsonl"
    packed = sessions.parent / "s1.jsonl.gz"
    packed.write_bytes(gzip.compress(file.read_bytes()))
    answers = [_json(path) for path in (sessions, file, packed)]
    assert [answers[0]] * 3 == answers
    (tool,) = answers[0]["tools"]
    assert ("Read", 1, len(FLIGHTS)) == (tool["tool"], tool["results"], tool["characters_before"])
    assert len(shape(FLIGHTS, Hint("Read", b"{}")).text) == answers[0]["characters_after"] == tool["characters_after"]
    assert (0, []) == (answers[0]["unrestored"], answers[0]["problems"])


def test_what_is_not_restored_ends_with_one(output: Path, sessions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is then no, in either form."""
    monkeypatch.setattr(shaping, "restore", lambda _shaped: "another")
    assert "could NOT be restored" in _run(output, code=1)
    assert "could NOT be restored" in _run(sessions, code=1)


def test_bad_input_is_one_sentence(output: Path, sessions: Path, tmp_path: Path) -> None:
    """What is not there, no text, no session; options that do not go together."""
    assert "no such file" in _refused(tmp_path / "gone").message
    assert "no UTF-8 text (byte 1)" in _refused("-", given=b"a\xff").message
    (tmp_path / "torn.gz").write_bytes(gzip.compress(b"x" * 1_000)[:20])
    assert "cut short" in _refused(tmp_path / "torn.gz").message
    (tmp_path / "empty").mkdir()
    assert "no Claude Code session" in _refused(tmp_path / "empty").message
    assert "--out" in _refused(sessions, "--out", tmp_path / "x").message
    assert "--tool" in _refused(sessions, "--tool", "Bash").message
    assert "--json" in _refused(output, "--json", "--out", "-").message


def test_an_empty_text_is_a_text() -> None:
    """Of no size, which saves nothing."""
    result = CliRunner().invoke(cli, ["shape", "-", "--json"], input=b"")
    answer = json.loads(result.stdout)
    assert (0, 0, 0.0, True) == (
        answer["characters_before"],
        answer["tokens_before"],
        answer["share_saved"],
        answer["restored"],
    )
