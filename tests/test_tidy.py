"""The shape of the code, held by machine: sizes, mirrored tests, no dead file, the glossary, nothing of this machine.

After TigerBeetle's tidy.zig. Each test collects every offender, so that one run tells the whole story.
"""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SRC = ROOT / "src" / "scrimp"
TESTS = ROOT / "tests"

MODULE_LINES = 500
FUNCTION_LINES = 70
MEDIAN_FUNCTION_LINES = 10
PACKAGE_DOCSTRING_LINES = 3

#: Test folders that follow a scenario, not a source file.
SCENARIOS = ("e2e", "fuzz", "browser", "simulation", "golden", "acceptance", "strategies")

#: word -> the word of the glossary (docs/concepts.md)
BANNED_IDENTIFIERS = {
    "completion_tokens": "output_tokens",
    "prompt_tokens": "total_input_tokens",
    "reasoning_tokens": "thinking_tokens",
    "cached_tokens": "cache_read_input_tokens",
    "cache_creation_tokens": "cache_write_5m_input_tokens or cache_write_1h_input_tokens",
    "input_tokens": "uncached_input_tokens or total_input_tokens",
    "cost_float": "cost_nano_usd",
    "conversation_id": "session_id",
    "thread_id": "session_id",
    "interaction": "exchange",
}

#: The API's edge: files that spell the API's own field names as identifiers.
EDGE = ("core/wire/usage.py", "sim/")

MACHINE_PATHS = tuple("/" + name + "/" for name in ("work", "root"))
REGISTRY_HOSTS = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("files", "pythonhosted", "org"),
        ("registry", "npmjs", "org"),
        ("registry", "yarnpkg", "com"),
        ("deb", "debian", "org"),
        ("crates", "io"),
    )
)


def _expect_none(offenders: Iterable[str]) -> None:
    found = "\n".join(offenders)
    assert found == "", f"\n{found}"


def _sources() -> list[Path]:
    return sorted(path for path in SRC.rglob("*.py") if "versions" not in path.parts)


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{_name(path)}:{node.name}", (node.end_lineno or node.lineno) - node.lineno + 1


@cache
def _tracked() -> tuple[Path, ...]:
    """Return the files that git has or would take."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],  # noqa: S607 - the developer's own git
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return tuple(path for line in listed.stdout.splitlines() if (path := ROOT / line).is_file())


def test_modules_are_short() -> None:
    """No module, test or tool is longer than 500 lines."""
    paths = [path for path in _tracked() if path.suffix == ".py"]
    lengths = {_name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
    _expect_none(f"{name}: {lines} lines" for name, lines in lengths.items() if lines > MODULE_LINES)


def test_functions_fit_in_a_glance() -> None:
    """No function is longer than 70 lines, its docstring counted."""
    paths = [path for path in _tracked() if path.suffix == ".py"]
    found = (item for path in paths for item in _functions(path))
    _expect_none(f"{name}: {lines} lines" for name, lines in found if lines > FUNCTION_LINES)


def test_the_median_function_is_short() -> None:
    """Half of the functions in src are under 10 lines, their docstrings counted."""
    assert statistics.median(lines for path in _sources() for _, lines in _functions(path)) < MEDIAN_FUNCTION_LINES


def _test_of(source: Path) -> Path:
    inside = source.relative_to(SRC)
    return TESTS / inside.parent / f"test_{inside.name}"


def _tested_sources() -> list[Path]:
    exempt = {"__init__.py", "__main__.py"}
    return [path for path in _sources() if path.name not in exempt and "migrations" not in path.parts]


def test_each_source_file_has_its_test_file() -> None:
    """tests/ mirrors src/scrimp/ one to one."""
    _expect_none(_name(_test_of(path)) for path in _tested_sources() if not _test_of(path).is_file())


def test_each_test_file_has_its_source_file() -> None:
    """No test file outlives its source; scenarios and the tests of the whole repository stand apart."""
    mirrored = {_test_of(path) for path in _tested_sources()}
    candidates = [path for path in TESTS.rglob("test_*.py") if path.relative_to(TESTS).parts[0] not in SCENARIOS]
    apart = {TESTS / f"test_{name}.py" for name in ("tidy", "docs", "package", "conftest")}
    _expect_none(sorted(_name(path) for path in set(candidates) - mirrored - apart))


def _module(path: Path) -> str:
    parts = path.relative_to(SRC.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _mentions(path: Path) -> Iterator[str]:
    """Yield the dotted names that a file imports, or names in a string, as a table of commands does."""
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("scrimp."):
            yield node.value.partition(":")[0]


def test_no_source_file_is_dead() -> None:
    """Every module is imported by another, or is a command."""
    alive = {"scrimp.cli.main"}
    for path in _sources():
        alive.update(name for name in _mentions(path) if name != _module(path))
    candidates = [path for path in _tested_sources() if "migrations" not in path.parts]
    _expect_none(_name(path) for path in candidates if _module(path) not in alive)


def _identifiers(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.keyword(arg=str(name)):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case _:
                pass


def _is_edge(path: Path) -> bool:
    return path.relative_to(SRC).as_posix().startswith(EDGE)


def test_identifiers_follow_the_glossary() -> None:
    """No identifier uses a word that the glossary replaces; only the API's edge spells the API's own names."""
    offenders = [
        f"{_name(path)}: {word} (say {BANNED_IDENTIFIERS[word]})"
        for path in _sources()
        if not _is_edge(path)
        for word in sorted(set(_identifiers(_tree(path))) & BANNED_IDENTIFIERS.keys())
    ]
    _expect_none(offenders)


def test_the_edge_lists_only_what_exists() -> None:
    """An exemption goes with the file it was made for."""
    _expect_none(prefix for prefix in EDGE if not (SRC / prefix).exists())


def test_nothing_is_left_to_do() -> None:
    """No leftover marker in any Python file: what is open is an issue, not a comment."""
    leftover = re.compile(r"#\s*(" + "|".join(("FIX" + "ME", "TO" + "DO", "X" * 3, "HA" + "CK")) + r")\b")
    paths = [path for path in _tracked() if path.suffix == ".py"]
    _expect_none(_name(path) for path in paths if leftover.search(path.read_text(encoding="utf-8")))


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", errors="replace")


def test_no_file_names_this_machine() -> None:
    """No tracked file names a folder of the machine it was written on, and src no temporary folder."""
    offenders = [_name(path) for path in _tracked() if any(name in _text(path) for name in MACHINE_PATHS)]
    offenders += [_name(path) for path in _sources() if f"/{'tmp'}/" in _text(path)]
    _expect_none(offenders)


def test_no_file_names_a_registry() -> None:
    """Dependencies are pinned by version and hash; where they come from is the user's own choice."""
    _expect_none(_name(path) for path in _tracked() if any(host in _text(path) for host in REGISTRY_HOSTS))


def test_locks_pin_by_version_and_hash_alone() -> None:
    """Each requirement is `name==version` with hashes; no line holds an address or an option."""
    for lock in sorted((ROOT / "requirements").glob("*.txt")):
        lines = [line for line in lock.read_text(encoding="utf-8").splitlines() if line and "#" not in line]
        allowed = re.compile(r"([\w.-]+==[\w.]+( ; .+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?)")
        _expect_none(line for line in lines if not allowed.fullmatch(line))


def test_each_package_explains_itself() -> None:
    """A package's docstring is its theory of operation: more than three lines."""
    documents = {path: ast.get_docstring(_tree(path)) or "" for path in _sources() if path.name == "__init__.py"}
    _expect_none(_name(path) for path, text in documents.items() if len(text.splitlines()) <= PACKAGE_DOCSTRING_LINES)


def test_tests_use_no_mocks() -> None:
    """We test against real fakes (the simulator, VirtualClock), which are themselves tested."""
    names = {path: set(_mentions(path)) for path in TESTS.rglob("*.py")}
    assert [] == [
        _name(path) for path, found in names.items() if any(name.startswith("unittest.mock") for name in found)
    ]


def test_each_exception_to_the_linter_has_its_reason() -> None:
    """A `noqa` names its rule and says why: `# noqa: S607 - the developer's own git`."""
    bare = re.compile(r"#\s*noqa(?!: [A-Z]+\d+(, ?[A-Z]+\d+)* - \S)")
    paths = [path for path in _tracked() if path.suffix == ".py" and path != Path(__file__)]
    lines = ((path, number, line) for path in paths for number, line in enumerate(_text(path).splitlines(), 1))
    _expect_none(f"{_name(path)}:{number}" for path, number, line in lines if bare.search(line))
