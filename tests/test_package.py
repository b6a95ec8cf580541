"""The built wheel works in a clean environment, from the core lock alone, and a core install stays small."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LIMIT_BYTES = 60_000_000

#: The tests that build share one build: they are one group, so that one worker runs them all.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("package")]


def _run(*command: str | Path, cwd: Path | None = None) -> str:
    finished = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel of this tree, built with the pinned backend."""
    folder = tmp_path_factory.mktemp("wheel")
    _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a virtual environment that holds the core lock and the wheel, and not even pip."""
    folder = tmp_path_factory.mktemp("clean") / "venv"
    _run(sys.executable, "-m", "venv", "--without-pip", folder)
    install: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        folder / "bin" / "python",
        "install",
        "--quiet",
    ]
    _run(*install, "--require-hashes", "--requirement", ROOT / "requirements" / "core.txt")
    _run(*install, "--no-deps", "--no-index", wheel)
    return folder


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--version", "scrimp, version"),
        ("--help", "Commands:"),
        ("prices list", "claude-"),
        ("report --help", "--json"),
    ],
)
def test_the_installed_command_works(clean: Path, tmp_path: Path, arguments: str, said: str) -> None:
    """The command line and its data files are all in the wheel and its lock."""
    assert said in _run(clean / "bin" / "scrimp", *arguments.split(), cwd=tmp_path)


def _sizes(folder: Path) -> Iterator[int]:
    return (path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_a_core_install_is_small(clean: Path, record_property: Callable[[str, object], None]) -> None:
    """Everything that the install added, byte code too, is under 60 MB."""
    (packages,) = clean.glob("lib/python*/site-packages")
    sizes = {entry.name: sum(_sizes(entry)) if entry.is_dir() else entry.stat().st_size for entry in packages.iterdir()}
    total = sum(sizes.values())
    largest = ", ".join(f"{name} {sizes[name] / 1e6:.1f}" for name in sorted(sizes, key=lambda name: -sizes[name])[:5])
    record_property("measured", f"core install {total / 1e6:.1f} MB of 60 ({largest})")
    assert total < LIMIT_BYTES


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    """Data files, migrations and the typing marker are inside, and nothing of the tests is."""
    listed = _run("git", "ls-files", "--cached", "--others", "--exclude-standard", "src/scrimp", cwd=ROOT)
    expected = {line.removeprefix("src/") for line in listed.splitlines() if (ROOT / line).is_file()}
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert expected == inside
    assert "scrimp/py.typed" in inside


def test_the_wheel_carries_its_licences(wheel: Path) -> None:
    """Whoever receives the wheel receives LICENSE and NOTICE."""
    names = {Path(name).name for name in zipfile.ZipFile(wheel).namelist() if "/licenses/" in name}
    assert {"LICENSE", "NOTICE"} == names


def _pins(lock: str) -> dict[str, str]:
    text = (ROOT / "requirements" / lock).read_text(encoding="utf-8")
    return {
        canonicalize_name(name): version for name, version in re.findall(r"^([\w.-]+)==([^ ]+)", text, re.MULTILINE)
    }


def _needs(*extras: str) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    return [Requirement(line) for line in listed]


@pytest.mark.parametrize(("lock", "extras"), [("core.txt", ()), ("dev.txt", ("sdk", "postgres", "prices", "fast"))])
def test_the_lock_holds_what_the_project_asks_for(lock: str, extras: tuple[str, ...]) -> None:
    """Whoever adds a dependency to pyproject.toml runs `make lock` in the same change."""
    pins = _pins(lock)
    missing = [each for each in _needs(*extras) if pins.get(canonicalize_name(each.name), "") not in each.specifier]
    assert [] == [str(each) for each in missing]


def test_both_locks_pin_the_same_versions() -> None:
    """What is tested is what a user of the core gets."""
    core, dev = _pins("core.txt"), _pins("dev.txt")
    assert core == {name: dev.get(name) for name in core}
