"""The documents tell the truth: their examples run, their links lead somewhere, their reference is fresh.

A fenced block that opens with ```console run holds commands that are run in a home of their own; ```console run=2 says
that each ends with exit code 2. Lines of output are for the reader and are not compared. A block that opens with
```python run is a program that is run against the simulator, one with ```python run=alone by itself. What a block with
```json file=NAME holds lies in the folder of its page's commands under that name.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from scrimp.cli.main import COMMANDS
from scrimp.clock import SystemClock
from scrimp.config import default_ledger_path
from scrimp.gateway.server import serving
from scrimp.sim.app import create_app
from scrimp.sim.machine import Simulator
from scrimp.store.ledger import open_ledger

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```console run(?:=(\d))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAM = re.compile(r"^```python run\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ALONE = re.compile(r"^```python run=alone\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^```json file=(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)(?:#[^)]*)?\)")


def _examples() -> list[tuple[str, str, int]]:
    return [
        (document.name, line.removeprefix("$ "), int(code or 0))
        for document in DOCUMENTS
        for code, block in FENCE.findall(document.read_text(encoding="utf-8"))
        for line in block.splitlines()
        if line.startswith("$ scrimp ")
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("document", "line", "expected"), _examples())
def test_each_example_runs_as_stated(document: str, line: str, expected: int, tmp_path: Path) -> None:
    """A reader who types it gets the exit code that the page promises, and never a traceback."""
    for page in (path for path in DOCUMENTS if path.name == document):
        for name, text in FILE.findall(page.read_text(encoding="utf-8")):
            (tmp_path / name).write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", *shlex.split(line)]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert (expected, False) == (finished.returncode, "Traceback" in finished.stderr), f"{document}: {finished.stderr}"


def _programs(fence: re.Pattern[str]) -> list[tuple[str, str]]:
    return [
        (document.name, program)
        for document in DOCUMENTS
        for program in fence.findall(document.read_text(encoding="utf-8"))
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("document", "program"), _programs(PROGRAM))
def test_each_program_runs(document: str, program: str, tmp_path: Path) -> None:
    """A reader who has a key gets an answer, and an exchange in the ledger."""
    with serving(create_app(Simulator(seed=1), SystemClock())) as url:
        api = {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "sk-ant-fake", "HOME": str(tmp_path)}
        command = [sys.executable, "-W", "error", "-c", program]
        finished = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **api})
    assert (0, "") == (finished.returncode, finished.stderr), document
    with open_ledger(default_ledger_path({**os.environ, **api}), must_exist=True) as ledger:
        assert [True] == [exchange.usage_complete for exchange in ledger.exchanges()]


@pytest.mark.slow
@pytest.mark.parametrize(("document", "program"), _programs(ALONE))
def test_each_program_without_the_api_runs(document: str, program: str, tmp_path: Path) -> None:
    """A reader who has no key and no network gets what the page promises."""
    command = [sys.executable, "-W", "error", "-c", program]
    finished = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, env={**os.environ, "HOME": str(tmp_path)}
    )
    assert (0, "") == (finished.returncode, finished.stderr), document


def test_there_are_examples() -> None:
    """The README and the quickstart each hold at least one example that runs, and the library's page a program."""
    assert {"README.md", "quickstart.md"} <= {document for document, _, _ in _examples()}
    assert ["sdk.md"] == [document for document, _ in _programs(PROGRAM)]
    assert ["shaping.md"] == [document for document, _ in _programs(ALONE)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_link_leads_somewhere(document: Path) -> None:
    """Every relative link names a file of the repository."""
    targets = LINK.findall(document.read_text(encoding="utf-8"))
    assert [] == [target for target in targets if not (document.parent / target).exists()]


def test_each_command_is_documented() -> None:
    """docs/reference/cli.md has a section for every command of the table."""
    page = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    assert [] == [name for name in COMMANDS if f"## scrimp {name}\n" not in page]


def test_the_reference_is_fresh() -> None:
    """docs/reference is what `make docs` would write now."""
    generator = ROOT / "tools" / "generate_docs.py"
    finished = subprocess.run([sys.executable, generator, "--check"], capture_output=True, text=True, check=False)
    assert (0, "") == (finished.returncode, finished.stderr)


def test_the_first_screen_of_the_readme_is_measured() -> None:
    """Its figures stand between their marks, where only `make docs` writes; nothing above them is a number of ours."""
    head, _, rest = (ROOT / "README.md").read_text(encoding="utf-8").partition("<!-- measured: bench/results -->\n")
    figures, closed, _ = rest.partition("<!-- /measured -->")
    assert len((head + figures).splitlines()) < 30
    assert (True, True) == (bool(closed), figures.startswith("Measured by `make bench` on "))
    assert [] == re.findall(r"\d+\.\d+", head)


def test_decisions_are_numbered_and_whole() -> None:
    """docs/adr counts from 0001 without gaps, and each record has its four parts."""
    records = sorted((ROOT / "docs" / "adr").glob("*.md"))
    assert list(range(1, len(records) + 1)) == [int(record.name[:4]) for record in records]
    parts = ["Context", "Decision", "Consequences", "Measurement"]
    assert [] == [
        record.name
        for record in records
        if parts != re.findall(r"^## (\w+)", record.read_text(encoding="utf-8"), re.MULTILINE)
    ]
