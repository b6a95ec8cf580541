"""`scrimp run -- claude ...`: the client's output stays its own, and the bill is the API's invoice."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from scrimp.money import dollars
from tests.e2e.claude import HEADLESS, TIMEOUT_SECONDS, ClaudeCode
from tests.e2e.stand import Stand, Stands

pytestmark = pytest.mark.clients

#: Where nothing answers: `scrimp run` has to say another address.
NOWHERE = "http://127.0.0.1:1"


def _scrimp(claude_code: ClaudeCode, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-m", "scrimp", *arguments),
        env=claude_code.environment(NOWHERE, CLAUDE_CODE_MAX_RETRIES="1"),
        cwd=claude_code.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_SECONDS,
    )


def _run(stand: Stand, claude_code: ClaudeCode, prompt: str, *flags: str) -> subprocess.CompletedProcess[str]:
    options = ("--upstream", stand.upstream, "--db", str(stand.db), "--bill", "bill.json")
    return _scrimp(claude_code, "run", *options, "--", "claude", "-p", prompt, *HEADLESS, *flags)


def _bill(claude_code: ClaudeCode) -> dict[str, Any]:
    bill: dict[str, Any] = json.loads((claude_code.folder / "bill.json").read_text(encoding="utf-8"))
    return bill


def test_the_bill_of_a_run(stands: Stands, claude_code: ClaudeCode) -> None:
    """The loop's bill on standard error, in the ledger, from Claude Code itself and on the invoice is the same."""
    with stands.make(gateway=False) as stand:
        done = _run(stand, claude_code, "SCENARIO:loop3 look")
    invoice, exchanges, told = stand.simulator.invoice, stand.checked(), json.loads(done.stdout)
    bill, used = _bill(claude_code), invoice.totals()

    assert 0 == done.returncode
    assert ("result", False, 4) == (told["type"], told["is_error"], told["num_turns"])
    assert {told["session_id"]} == {exchange.session_id for exchange in exchanges}
    assert 1 == len({exchange.prompt_id for exchange in exchanges} - {None})  # `run` asks the client for its hints
    assert invoice.cost_nano_usd / 1e9 == pytest.approx(told["total_cost_usd"], abs=1e-9)
    assert (4, invoice.cost_nano_usd) == (bill["exchanges"], bill["cost_nano_usd"])
    lines = done.stderr.splitlines()
    named = [line.removeprefix("  Set for this run: ").partition(" (")[0] for line in lines[2:-1]]
    assert ["CLAUDE_CODE_ATTRIBUTION_HEADER=0", "CLAUDE_CODE_GATEWAY_HINT_HEADERS=1"] == named
    assert [*lines[:2], lines[-1]] == [
        f"scrimp: claude made 4 exchanges for {dollars(invoice.cost_nano_usd)} at list price (claude-opus-5-5).",
        (
            f"  input {used.uncached_input_tokens:,} uncached, {used.cache_read_input_tokens:,} read from cache, "
            f"{used.cache_write_5m_input_tokens + used.cache_write_1h_input_tokens:,} written; "
            f"output {used.output_tokens:,} tokens."
        ),
        f"  `scrimp report --db {stand.db}` shows where it went, `scrimp export --db {stand.db}` each exchange.",
    ]


def test_the_report_of_a_run(stands: Stands, claude_code: ClaudeCode) -> None:
    """Afterwards `scrimp report` reads the same cost and the same counts from the ledger."""
    with stands.make(gateway=False) as stand:
        _run(stand, claude_code, "SCENARIO:para4 look")
    shown = _scrimp(claude_code, "report", "--db", str(stand.db), "--json")
    report, bill, invoice = json.loads(shown.stdout), _bill(claude_code), stand.simulator.invoice

    assert (0, "") == (shown.returncode, shown.stderr)
    assert (2, 1, invoice.cost_nano_usd) == (report["exchanges"], report["sessions"], report["cost_nano_usd"])
    assert bill["usage"].items() <= report["usage"].items()
    assert len(stand.checked()) == report["exchanges"]


def test_the_exit_code_is_the_clients(stands: Stands, claude_code: ClaudeCode) -> None:
    """A client that fails fails the run, and the bill says that its exchanges have no price."""
    with stands.make(gateway=False) as stand:
        done = _run(stand, claude_code, "SCENARIO:hello", "--model", "claude-nonesuch")
    bill = _bill(claude_code)

    assert 1 == done.returncode
    assert json.loads(done.stdout)["is_error"]
    assert (None, 0) == (bill["cost_nano_usd"], stand.simulator.invoice.cost_nano_usd)
    assert len(stand.checked()) == bill["unpriced_exchanges"] == bill["exchanges"]
    assert f"No price for {bill['exchanges']} exchanges: failed" in done.stderr
