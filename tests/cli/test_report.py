"""`scrimp report`: the promised JSON, the text for people, and what it says when something is wrong."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import termios
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from scrimp.cli.main import cli
from scrimp.cli.report import GROUPINGS
from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.usage import Usage, UsageLine
from scrimp.errors import ConfigError, TraceFormatError, UsageError
from scrimp.replay.report import BYS
from scrimp.replay.traces.ledger_export import write
from scrimp.store.ledger import open_ledger
from tests.cli.asked import told, told_json

_run = partial(told, "report")
_json = partial(told_json, "report")

USAGE = {"input_tokens": 10, "cache_read_input_tokens": 200, "cache_creation_input_tokens": 30, "output_tokens": 4}
#: Of USAGE on claude-opus-4-6, by hand: 10 x 5 + 200 x 0.5 + 30 x 6.25 + 4 x 25 USD per million tokens.
COST_USD = (10 * 5 + 200 * 0.5 + 30 * 6.25 + 4 * 25) / 1_000_000
CLASSES = {
    "uncached_input_tokens": 10,
    "cache_read_input_tokens": 200,
    "cache_write_5m_input_tokens": 30,
    "cache_write_1h_input_tokens": 0,
    "output_tokens": 4,
}


def _row(number: int, **more: Any) -> dict[str, Any]:
    model = more.pop("model", "claude-opus-4-6")
    message = {"id": f"m{number}", "model": model, "usage": USAGE, "content": []}
    row = {"type": "assistant", "uuid": f"a{number}", "sessionId": "s1", "version": "2.1.80", "message": message}
    return row | {"timestamp": f"2026-11-{24 + number % 2}T10:00:00Z"} | more


@pytest.fixture
def sessions(tmp_path: Path) -> Path:
    """Return a folder with one session of three answers, one of them without a known price."""
    folder = tmp_path / "projects" / "shop"
    folder.mkdir(parents=True)
    prompt = {"type": "user", "uuid": "u", "sessionId": "s1", "message": {"content": "fix the crash"}}
    rows = [prompt, _row(1), _row(2, version="2.1.20"), _row(3, model="gpt-9")]
    (folder / "s1.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return tmp_path / "projects"


def test_json_has_the_promised_shape(sessions: Path) -> None:
    """Exactly the promised keys and values, with more beside them."""
    answer = _json(sessions)
    promised = {key: answer[key] for key in ("exchanges", "sessions", "unpriced_exchanges")}
    assert {"exchanges": 3, "sessions": 1, "unpriced_exchanges": 1} == promised
    assert pytest.approx(2 * COST_USD) == answer["cost_usd"]
    assert {name: 3 * count for name, count in CLASSES.items()} == {name: answer["usage"][name] for name in CLASSES}
    (group,) = answer["groups"]
    assert ("fix bug", 3, 1.0) == (group["key"], group["exchanges"], group["share"])
    assert answer["cost_usd"] == group["cost_usd"]
    assert answer["usage"] == group["usage"]


def test_json_says_what_else_is_known(sessions: Path) -> None:
    """Marks, models without a price, baselines, files and problems."""
    (sessions / "torn.jsonl").write_text(json.dumps(_row(4)) + '\n{"type"', encoding="utf-8")
    answer = _json(sessions)
    assert (1, {"gpt-9": 1}, 2) == (answer["partial_output_exchanges"], answer["unpriced_models"], answer["files"])
    assert ["the last line is cut off" in problem for problem in answer["problems"]] == [True]
    assert {"basis", "billed_usd", "uncached_usd", "automatic_caching_usd"} == set(answer["counterfactuals"])
    assert answer["cost_nano_usd"] == round(answer["cost_usd"] * 1e9)


@pytest.mark.parametrize(
    ("by", "keys"), [("day", {"2026-11-24", "2026-11-25"}), ("model", {"claude-opus-4-6", "gpt-9"})]
)
def test_groupings(sessions: Path, by: str, keys: set[str]) -> None:
    """--by picks the key."""
    assert keys == {group["key"] for group in _json(sessions, "--by", by)["groups"]}


def test_the_table_of_groupings_is_that_of_the_fold() -> None:
    """The command spells them again, to start quickly."""
    assert list(BYS) == list(GROUPINGS)


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--since", "2026-11-25"], 2),
        (["--until", "2026-11-24"], 1),
        (["--until", "2026-11-25T10:00:00"], 1),
        (["--until", "2026-11-25T12:00:00+02:00"], 1),
        (["--since", "2026-11-24T10:00:01Z", "--until", "2026-11-25"], 2),
        (["--since", "2027-01-01"], 0),
    ],
)
def test_since_and_until(sessions: Path, options: list[str], count: int) -> None:
    """A day is meant whole, a time is a limit that is not reached; without a zone it is UTC."""
    assert count == _json(sessions, *options)["exchanges"]


@pytest.mark.parametrize("value", ["soon", "2026-13-01", "2026-11-25T99:00", ""])
def test_a_time_that_is_none_is_refused(sessions: Path, value: str) -> None:
    """Exit code 2, with an example of what is meant."""
    result = CliRunner().invoke(cli, ["report", str(sessions), "--since", value])
    assert (2, True) == (result.exit_code, "2026-01-31" in result.stderr)


def test_top_cuts_the_groups_and_nothing_else(sessions: Path) -> None:
    """Totals stay those of everything."""
    answer = _json(sessions, "--by", "model", "--top", 1)
    assert (3, ["claude-opus-4-6"]) == (answer["exchanges"], [group["key"] for group in answer["groups"]])


def test_people_get_the_sum_first_and_the_notes_last(sessions: Path) -> None:
    """Plain words: total, shares, dearest, table, baselines, what to mind, subscriptions."""
    (sessions / "noise.jsonl").write_text("noise\n", encoding="utf-8")
    text = _run(sessions)
    expected = [
        "3 requests in 1 session cost at least $0.000875 at list price (2026-11-24 to 2026-11-25).",
        "Of what is known: reading the cache 23%, writing it for 5 minutes 43%, input outside the cache 11%, ",
        "output 23%.",
        "Dearest kind of task: fix bug, at least $0.000875 (100% of what is known).",
        "Dearest session: s1,",
        "kind of task",
        "≥ $0.000875",
        "The requests whose cost is known, estimated from their recorded sizes:",
        "without any cache: at least $0.002600, 2.97 times as much.",
        "with one-line automatic caching: at least $",
        "Note: 1 request came from client versions that recorded only the beginning of the output count",
        "Note: No price is known for gpt-9 (1); they are left out of every cost (≥). Add them to ",
        "noise.jsonl: no reader knows this kind of file;",
        "With a subscription you do not pay by the token",
    ]
    for part in expected:
        _, found, text = text.partition(part)
        assert part == found


def test_what_broke_off_makes_the_bill_a_lower_bound(tmp_path: Path) -> None:
    """An answer without its final count, and one without any: neither is zero, and both are told."""
    folder = tmp_path / "s"
    folder.mkdir()
    half = _row(1)
    half["message"] = half["message"] | {"usage": {"input_tokens": 10}}
    none = _row(2)
    none["message"] = none["message"] | {"usage": {}}
    (folder / "s1.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (half, none)), encoding="utf-8")
    answer = _json(folder)
    (group,) = answer["groups"]
    assert (2, 1, 1, 1, 50_000) == (
        answer["exchanges"],
        answer["incomplete_exchanges"],
        answer["unmetered_exchanges"],
        answer["unpriced_exchanges"],
        answer["cost_nano_usd"],
    )
    assert 1 == group["incomplete_exchanges"]
    text = _run(folder)
    assert "2 requests in 1 session cost at least $0.000050 at list price" in text
    assert "≥ $0.000050" in text
    assert 2 == answer["broken_exchanges"] == group["broken_exchanges"]
    assert "Note: 2 requests ended without a final count" in text


def test_an_export_beside_its_sessions_counts_once(sessions: Path, tmp_path: Path) -> None:
    """The gateway's record of an answer is the client's record of it, though their ids differ."""
    usage = Usage(10, 200, 30, 0, 4)
    exchange = Exchange(exchange_id="ex_1", opened_at_ms=1, source="gateway", message_id="m1", usage=usage)
    (tmp_path / "ledger.jsonl").write_bytes(b"".join(write([exchange])))
    for paths in ((sessions, tmp_path / "ledger.jsonl"), (tmp_path / "ledger.jsonl", sessions)):
        assert 3 == _json(*paths)["exchanges"]


def test_a_long_table_is_cut_with_a_word(sessions: Path) -> None:
    """What is not shown is counted."""
    assert "… and 1 more; show them with --top." in _run(sessions, "--by", "model", "--top", 1)


def test_many_problems_are_cut_with_a_word(sessions: Path) -> None:
    """--json has them all."""
    for number in range(12):
        (sessions / f"noise{number}.jsonl").write_text("noise\n", encoding="utf-8")
    assert "Note: 2 more problems; --json lists all." in _run(sessions)
    assert 12 == len(_json(sessions)["problems"])


def test_nothing_priced_is_unknown_not_zero(tmp_path: Path) -> None:
    """A cost that is not known is null in JSON and `unknown` in words."""
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps(_row(1, model="gpt-9")), encoding="utf-8")
    assert (None, None) == ((answer := _json(path))["cost_usd"], answer["groups"][0]["cost_usd"])
    assert "What 1 request in 1 session cost is unknown (2026-11-25 to 2026-11-25)." in _run(path)


def test_without_a_path_the_users_own_sessions_are_read(sessions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From $CLAUDE_CONFIG_DIR, or ~/.claude."""
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(sessions.parent))
    assert 3 == _json()["exchanges"]


def test_the_ledger_is_read_too(tmp_path: Path) -> None:
    """Its stored costs are the costs; --since and --until hold there as well."""
    usage = Usage(1, 2, 3, 4, 5)
    exchange = Exchange(
        exchange_id="e1",
        opened_at_ms=1_795_608_000_000,
        source="gateway",
        task_tag="nightly",
        usage=usage,
        usage_lines=(UsageLine(usage, "claude-opus-4-6"),),
        cost_nano_usd=1_234,
    )

    async def fill() -> None:
        ledger = open_ledger(tmp_path / "ledger.db")
        await ledger.open(exchange)
        ledger.close(exchange)
        await ledger.aclose()

    asyncio.run(fill())
    answer = _json("--db", tmp_path / "ledger.db")
    assert (1, 1_234, ["nightly"]) == (
        answer["exchanges"],
        answer["cost_nano_usd"],
        [group["key"] for group in answer["groups"]],
    )
    assert 0 == _json("--db", tmp_path / "ledger.db", "--since", "2027-01-01")["exchanges"]


def test_json_tells_savings_and_pings_apart(tmp_path: Path) -> None:
    """Saved is over all rows, and what we spent ourselves stands beside it."""
    request = Exchange(exchange_id="e1", opened_at_ms=1, source="gateway", usage=Usage(1), cost_nano_usd=1_000)
    ping = replace(request, exchange_id="e2", origin="ping", baseline_cost_nano_usd=0, cost_nano_usd=300)
    ledger = _ledger_of(tmp_path, replace(request, baseline_cost_nano_usd=5_000), ping, closed=2)
    _, alone, cost, saved, is_bound, own = _json("--db", ledger)["savings"].values()
    assert (5_000 / 1e9, 1_300 / 1e9, 3_700 / 1e9, False) == (alone, cost, saved, is_bound)
    assert {"ping": {"exchanges": 1, "cost_usd": 300 / 1e9}} == own


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["gone"], TraceFormatError),
        (["--db", "gone.db"], ConfigError),
        (["--db", "ledger.db", "a.jsonl"], UsageError),
    ],
)
def test_wrong_calls_end_with_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], error: type[UsageError]
) -> None:
    """One sentence says what, one what next."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as caught:
        CliRunner().invoke(cli, ["report", *arguments], catch_exceptions=False)
    assert (2, True) == (caught.value.exit_code, bool(caught.value.hint))


def test_web_search_fees_are_a_part_of_the_bill(tmp_path: Path) -> None:
    """The parts add up to the cost, and what caching does not change is on both sides of the ratio."""
    row = _row(1)
    row["message"] = row["message"] | {"usage": {"input_tokens": 0, "output_tokens": 4}}
    row["message"]["usage"]["server_tool_use"] = {"web_search_requests": 3}
    path = tmp_path / "s.jsonl"
    path.write_text(json.dumps(row), encoding="utf-8")
    answer = _json(path)
    assert (0.03, answer["cost_usd"]) == (
        answer["class_cost_usd"]["web_search_requests"],
        pytest.approx(sum(answer["class_cost_usd"].values())),
    )
    text = _run(path)
    assert "web search fees" in text
    assert "without any cache: $0.030100, 1.00 times as much." in text


def _ledger_of(tmp_path: Path, *exchanges: Exchange, closed: int) -> Path:
    """Write a ledger in which the first `closed` exchanges are closed."""

    async def fill() -> None:
        ledger = open_ledger(tmp_path / "ledger.db")
        for number, exchange in enumerate(exchanges):
            await ledger.open(exchange)
            if number < closed:
                ledger.close(exchange)
        await ledger.aclose()

    asyncio.run(fill())
    return tmp_path / "ledger.db"


def test_what_left_no_usage_is_told_apart(tmp_path: Path) -> None:
    """Refused is not billed; what broke off or never ended may be, so the sum is a lower bound."""
    usage = Usage(1_000)
    common: dict[str, Any] = {"source": "gateway", "opened_at_ms": 1_795_608_000_000}
    ledger = _ledger_of(
        tmp_path,
        Exchange(exchange_id="good", closed_at_ms=1_795_608_000_001, usage=usage, cost_nano_usd=5_000_000, **common),
        Exchange(exchange_id="refused", closed_at_ms=1_795_608_000_001, http_status=404, **common),
        Exchange(exchange_id="gone", closed_at_ms=1_795_608_000_001, error_type="client_gone", **common),
        Exchange(exchange_id="open", **common),
        closed=3,
    )
    answer = _json("--db", ledger)
    names = ("refused_exchanges", "broken_exchanges", "open_exchanges", "unmetered_exchanges", "cost_is_lower_bound")
    assert [1, 1, 1, 3, True] == [answer[name] for name in names]
    text = _run("--db", ledger)
    for part in (
        "4 requests cost at least $0.005000 at list price",
        "Note: 1 request ended without a final count",
        "Note: 1 request did not end: still under way, or the gateway died",
        "Note: 1 request got an error instead of an answer (HTTP status 400 or more); those are not billed.",
    ):
        assert part in text


def test_an_interval_is_shown_where_every_upper_bound_is_known(tmp_path: Path) -> None:
    """Between and at most, to people and in JSON; one exchange without a bound and only the lower one is left."""
    usage = Usage(1_000)
    common: dict[str, Any] = {"source": "gateway", "opened_at_ms": 1_795_608_000_000, "usage_complete": False}
    cut = Exchange(exchange_id="cut", usage=usage, cost_nano_usd=5_000_000, cost_upper_nano_usd=7_000_000, **common)
    gone = Exchange(exchange_id="gone", error_type="client_gone", cost_upper_nano_usd=2_000_000, **common)
    for name, exchanges, words, upper, cell in (
        ("both", (cut, gone), "cost between $0.005000 and $0.009000 at list price", 0.009, "$0.005000 to $0.009000"),
        ("gone", (gone,), "cost at most $0.002000 at list price", 0.002, "unknown"),
        ("more", (cut, Exchange(exchange_id="x", **common)), "cost at least $0.005000 at", None, "≥ $0.005000"),
    ):
        (folder := tmp_path / name).mkdir()
        ledger = _ledger_of(folder, *exchanges, closed=len(exchanges))
        answer, text = _json("--db", ledger), _run("--db", ledger)
        assert words in text
        assert cell in text
        assert upper == answer["cost_upper_usd"] == answer["groups"][0]["cost_upper_usd"]


def test_an_error_that_is_not_the_apis_own_is_not_called_refused(tmp_path: Path) -> None:
    """A page of somebody in between says nothing of what the API did: its exchange keeps what it can have cost."""
    common: dict[str, Any] = {"source": "gateway", "opened_at_ms": 1_795_608_000_000, "usage_complete": False}
    page = Exchange(exchange_id="e", closed_at_ms=0, http_status=502, cost_upper_nano_usd=2_000_000, **common)
    answer = _json("--db", _ledger_of(tmp_path, page, closed=1))
    assert (0, 1, 0.002) == (answer["refused_exchanges"], answer["broken_exchanges"], answer["cost_upper_usd"])


def test_refusals_alone_cost_nothing(tmp_path: Path) -> None:
    """And make no sum a lower bound."""
    refused = Exchange(
        exchange_id="e",
        source="gateway",
        opened_at_ms=1_795_608_000_000,
        closed_at_ms=1_795_608_000_001,
        http_status=429,
    )
    text = _run("--db", _ledger_of(tmp_path, refused, closed=1))
    assert text.startswith("1 request cost nothing: the API refused every one (2026-11-25 to 2026-11-25).")
    assert "≥" not in text


def test_nothing_to_report_is_said_with_what_next(sessions: Path, tmp_path: Path) -> None:
    """An empty selection, an empty session and an empty ledger are answers, not errors."""
    quiet = tmp_path / "quiet.jsonl"
    quiet.write_text('{"type":"user","uuid":"u","sessionId":"s"}\n', encoding="utf-8")
    ledger = _ledger_of(tmp_path, closed=0)
    assert "No request was sent in the time of --since and --until. Give a longer time.\n" == _run(
        sessions, "--since", "2027-01-01"
    )
    assert _run(quiet).startswith("No request is recorded here yet. ")
    assert (
        f"The ledger {ledger} holds no request yet. Send some through it: scrimp run --db {ledger} -- CLIENT.\n"
        == _run("--db", ledger)
    )


@pytest.mark.parametrize("command", ["report", "export"])
def test_a_span_that_ends_before_it_begins_is_refused(command: str) -> None:
    """It would be empty whatever was recorded."""
    with pytest.raises(UsageError, match="--since is not before --until"):
        CliRunner().invoke(cli, [command, "--since", "2026-11-25", "--until", "2026-11-24"], catch_exceptions=False)


@pytest.mark.parametrize("command", ["report", "export"])
def test_a_ledger_that_cannot_be_used_is_called_wrongly(tmp_path: Path, command: str) -> None:
    """As any other file that cannot be read."""
    path = tmp_path / "ledger.db"
    path.write_bytes(b"no ledger at all" * 100)
    with pytest.raises(ConfigError, match="is not a ledger"):
        CliRunner().invoke(cli, [command, "--db", str(path)], catch_exceptions=False)


def test_without_sessions_and_without_a_path_no_path_is_blamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who gave no path cannot check it."""
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "gone"))
    with pytest.raises(TraceFormatError) as caught:
        CliRunner().invoke(cli, ["report"], catch_exceptions=False)
    assert (
        f"Claude Code has kept no sessions in {tmp_path}/gone/projects.",
        "Run it once, or give a PATH or --db.",
    ) == (
        caught.value.message,
        caught.value.hint,
    )


def test_names_that_are_no_text_are_spelled_out(sessions: Path) -> None:
    """A file's name may hold any bytes; JSON and words have only text, and no control characters."""
    row = {key: each for key, each in _row(4, cwd="/x\x1b[2J").items() if key != "sessionId"}
    name = os.fsdecode(b"bad\xff\x1b.jsonl")
    (sessions / name).write_text(json.dumps(row) + '\n{"type"', encoding="utf-8")
    answer = _json(sessions, "--by", "session")
    assert {"s1", "bad\\udcff\x1b"} == {group["key"] for group in answer["groups"]}
    assert "bad\\udcff\\x1b.jsonl line 2: the last line is cut off" in answer["problems"][0]
    for by in ("session", "project"):
        assert "\x1b" not in _run(sessions, "--by", by)


@pytest.mark.parametrize(("encoding", "sign"), [("latin-1", ">= $"), ("utf-8", "≥ $"), ("ascii", ">= $")])
def test_any_encoding_of_the_output_will_do(sessions: Path, encoding: str, sign: str) -> None:
    """Where the sign for "at least" cannot be written, two letters of ASCII say it."""
    done = subprocess.run(
        [sys.executable, "-m", "scrimp", "report", str(sessions), "--by", "model", "--top", "1"],
        capture_output=True,
        check=False,
        env=os.environ | {"PYTHONIOENCODING": encoding},
    )
    assert (0, b"") == (done.returncode, done.stderr)
    text = done.stdout.decode(encoding)
    assert sign in text
    assert "\\u" not in text


def test_the_table_fits_its_terminal(sessions: Path) -> None:
    """On a terminal of 80 columns no line of the table is longer, and what went is named."""
    controller, terminal = os.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    command = [sys.executable, "-m", "scrimp", "report", str(sessions), "--by", "project"]
    kept = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
    with subprocess.Popen(command, stdout=terminal, env=kept) as process:
        os.close(terminal)
        shown = b""
        while chunk := _read_terminal(controller):
            shown += chunk
    os.close(controller)
    lines = shown.decode().splitlines()
    (ruler,) = (index for index, line in enumerate(lines) if line.startswith("---"))
    assert 0 == process.returncode
    assert 80 >= max(map(len, lines[ruler - 1 : ruler + 2]))
    assert any(line.startswith("(Left out to fit this terminal: write 5m, write 1h") for line in lines)


def _read_terminal(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536)
    except OSError:  # Linux says so when the other side is closed
        return b""


def test_as_a_process_it_prints_json_and_nothing_else(sessions: Path) -> None:
    """Exit code, standard output and standard error of the installed command."""
    command = [sys.executable, "-m", "scrimp", "report"]
    good = subprocess.run([*command, str(sessions), "--json"], capture_output=True, text=True, check=False)
    bad = subprocess.run([*command, "gone", "--json"], capture_output=True, text=True, check=False)
    assert (0, "", 3) == (good.returncode, good.stderr, json.loads(good.stdout)["exchanges"])
    assert (2, "") == (bad.returncode, bad.stdout)
    assert "scrimp: gone: there is no such file or folder. Check the path.\n" == bad.stderr


def test_help_imports_no_reader() -> None:
    """Start-up is a promise: asking for help loads neither readers nor prices."""
    code = (
        "import sys\nfrom scrimp.cli.main import cli\n"
        "try:\n    cli(['report', '--help'])\nexcept SystemExit:\n    pass\n"
        "slow = ('scrimp.replay', 'scrimp.core', 'msgspec', 'tabulate')\n"
        "print([name for name in sys.modules if name.startswith(slow)])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "[]" == answer.stdout.splitlines()[-1]


@pytest.mark.data
def test_recorded_sessions_end_to_end(data: Path) -> None:
    """The command reads all recorded sessions, gzip and all, without a problem."""
    answer = _json(data / "claude_code_sessions", "--by", "session")
    assert (6_927, 110, 110, 0, []) == (
        answer["exchanges"],
        answer["sessions"],
        len(answer["groups"]),
        answer["unpriced_exchanges"],
        answer["problems"],
    )
