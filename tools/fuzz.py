"""Fuzz the readers for as long as asked, and keep what was found and what it took in bench/results/fuzz.json.

    python tools/fuzz.py --seconds N [--targets NAME,...]

The seconds are of CPU time. They are shared out over the targets of tests/fuzz/targets.py, which take turns, each in a
process of its own with coverage-guided mutation (atheris) and a mutator that keeps JSON readable. The corpus stays in
.fuzz and is gone on with the next time. An input that fails, takes too long or too much memory is saved as hexadecimal
text in .fuzz/failures, each kind of failure once; it may hold recorded data, so whoever mends it writes one of their
own into tests/fuzz/failures, which `make check` replays. Exit code 1: something was found.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".fuzz"
CORPUS, FAILURES, STATS = WORK / "corpus", WORK / "failures", WORK / "stats"
RESULT = ROOT / "bench" / "results" / "fuzz.json"
#: Some targets write each input to a file: in memory, where there is such a folder.
MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
DATA = ROOT.parent / "shared" / "data"

#: CPU seconds that one input may take, and memory that the process may ever hold.
INPUT_SECONDS_MAX = 2.0
RSS_BYTES_MAX = 512 << 20
#: Room for shared libraries and what an allocator reserves without touching it.
ADDRESS_BYTES_MAX = RSS_BYTES_MAX + (1 << 30)
#: How long a target is fuzzed before the next one has its turn, in CPU seconds.
TURN_SECONDS = 100
#: Where a signal cannot stop an input (a loop in C), libFuzzer ends the process after so many seconds of wall time.
STUCK_SECONDS = 120
#: The longest input that is made; repeating a part of it makes longer texts (tests/fuzz/inputs.py).
INPUT_BYTES_MAX = 64 * 1024
#: The longest piece of recorded data that is taken as a seed.
SEED_BYTES_MAX = 48 * 1024
#: How many kinds of failure of one target are told apart.
KINDS_MAX = 50
#: target -> the recorded data that it starts from where there is any, and how many pieces.
RECORDED = {"traces": ("claude_code_sessions/**/*.jsonl*", 150)}


class TooSlow(BaseException):
    """One input took more than `INPUT_SECONDS_MAX`; no reader may catch it."""


class TooLarge(Exception):
    """The process holds more than `RSS_BYTES_MAX`."""


# --- one target, in a process of its own ------------------------------------------------------------------------


def peak_rss_bytes() -> int:
    """Return the most memory that this process ever held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class Watch:
    """Runs inputs one by one, and keeps count of what they took and how they failed."""

    def __init__(self, target: str, run: Callable[[str, bytes], None], seconds: float) -> None:
        self._target = target
        self._run = run
        self._seconds = seconds
        self._written_at = 0.0
        self._peak_bytes = peak_rss_bytes()
        self.executions = 0
        self.slowest_s = 0.0
        self.failures: dict[str, str] = {}
        signal.signal(signal.SIGVTALRM, self._late)

    def _late(self, _signal: int, _frame: FrameType | None) -> None:
        raise TooSlow(f"took more than {INPUT_SECONDS_MAX} s")

    def __call__(self, data: bytes) -> None:
        """Run one input."""
        self.executions += 1
        started = time.process_time()
        signal.setitimer(signal.ITIMER_VIRTUAL, INPUT_SECONDS_MAX)
        try:
            self._run(self._target, data)
            self._measure_memory()
        except (Exception, TooSlow) as error:  # noqa: BLE001 - whatever it is, it is what we look for
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            self._failed(data, error)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        self.slowest_s = max(self.slowest_s, time.process_time() - started)
        if time.monotonic() - self._written_at > 1:
            self.write()
            if time.process_time() > self._seconds:
                os._exit(0)  # libFuzzer counts wall time only

    def _measure_memory(self) -> None:
        peak = peak_rss_bytes()
        grown = peak > self._peak_bytes
        self._peak_bytes = peak
        if grown and peak > RSS_BYTES_MAX:
            raise TooLarge(f"held more than {RSS_BYTES_MAX} bytes")

    def _failed(self, data: bytes, error: BaseException) -> None:
        """Save the first input of each kind of failure: the error's type and where in our code it came from."""
        ours = [each for each in traceback.extract_tb(error.__traceback__) if "atheris" not in each.filename]
        where = ours[-1] if ours else None
        place = f"{Path(where.filename).name}:{where.name}:{where.lineno}" if where else "nowhere"
        kind = f"{type(error).__name__} in {place}"
        if kind in self.failures or len(self.failures) >= KINDS_MAX:
            return
        name = f"{sha256(kind.encode()).hexdigest()[:12]}.hex"
        folder = FAILURES / self._target
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(data.hex() + "\n", encoding="ascii")
        (folder / name).with_suffix(".txt").write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        self.failures[kind] = f".fuzz/failures/{self._target}/{name}"
        self.write()

    def write(self) -> None:
        """Note what is known so far, for the parent to read however this process ends."""
        self._written_at = time.monotonic()
        figures = {
            "executions": self.executions,
            "slowest_input_ms": round(self.slowest_s * 1000),
            "peak_rss_mb": round(peak_rss_bytes() / 2**20),
            "failures": self.failures,
        }
        STATS.mkdir(parents=True, exist_ok=True)
        (STATS / f"{self._target}.json").write_text(json.dumps(figures), encoding="utf-8")


def fuzz_target(target: str, seconds: int) -> None:
    """Fuzz one target for so many CPU seconds; this does not return."""
    import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: PLC0415 - only this environment has it

    with atheris.instrument_imports(include=["scrimp"], enable_loader_override=False):
        from scrimp.core.belief import task, work  # noqa: F401, PLC0415 - imported late by their users: instrument now
        from tests.fuzz import mutation, targets  # noqa: PLC0415 - what they import is instrumented
    watch = Watch(target, targets.run, seconds)

    def mutated(data: bytes, size_max: int, seed: int) -> bytes:
        dice = random.Random(seed)  # noqa: S311 - libFuzzer's own seed decides
        choice = dice.random()
        changed = mutation.mutate_json(data, dice) if choice < 0.6 else None  # noqa: PLR2004 - the larger part
        if choice > 0.97:  # noqa: PLR2004 - long inputs are slow, so they are few
            changed = mutation.repeat_part(data, dice)
        if changed is None or len(changed) > size_max:
            changed = atheris.Mutate(data, size_max)
        return bytes(changed)

    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_BYTES_MAX, ADDRESS_BYTES_MAX))
    options = {
        "max_len": INPUT_BYTES_MAX,
        "timeout": STUCK_SECONDS,
        "rss_limit_mb": 0,
        "artifact_prefix": f"{FAILURES / target}/stuck-",
    }
    (FAILURES / target).mkdir(parents=True, exist_ok=True)
    arguments = [sys.argv[0], *(f"-{name}={value}" for name, value in options.items()), str(CORPUS / target)]
    atheris.Setup(arguments, watch, custom_mutator=mutated)
    atheris.Fuzz()


# --- all targets ------------------------------------------------------------------------------------------------


def seed(target: str) -> None:
    """Put the committed seeds into the corpus, and recorded data where there is any."""
    from tests.fuzz.inputs import CONTROL_BYTES  # noqa: PLC0415 - as below
    from tests.fuzz.targets import SEEDS, read_seed  # noqa: PLC0415 - needs the folder of the repository

    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    inputs = [read_seed(path) for path in sorted((SEEDS / target).iterdir())]
    inputs += [bytes(CONTROL_BYTES) + piece for piece in recorded(*RECORDED.get(target, ("", 0)))]
    for data in inputs:
        (folder / sha256(data).hexdigest()).write_bytes(data)


def recorded(pattern: str, count: int) -> Iterator[bytes]:
    """Yield the beginnings of recorded files, whole lines only."""
    import gzip  # noqa: PLC0415 - only here

    paths = sorted(DATA.glob(pattern))[:: max(1, len(list(DATA.glob(pattern))) // count)] if count else []
    for path in paths:
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
        yield data[: data.rfind(b"\n", 0, SEED_BYTES_MAX) + 1] or data[:SEED_BYTES_MAX]


def run_turn(target: str, seconds: float, figures: dict[str, Any]) -> None:
    """Fuzz one target in a child, and add what that gave to its figures."""
    before, started = children_seconds(), time.monotonic()
    (STATS / f"{target}.json").unlink(missing_ok=True)
    command = [sys.executable, str(Path(__file__)), "--one", target, "--seconds", str(round(seconds))]
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=MEMORY if MEMORY.is_dir() else None) as folder:
        environment = {**os.environ, "TMPDIR": folder}
        ended = subprocess.run(command, capture_output=True, check=False, cwd=ROOT, env=environment)
    log = ended.stderr.decode("utf-8", "replace")
    (WORK / f"{target}.log").write_text(log, encoding="utf-8")
    noted = noted_by(target, ended.returncode, log)
    figures["wall_seconds"] += round(time.monotonic() - started)
    figures["cpu_seconds"] += round(children_seconds() - before)
    figures["executions"] += noted["executions"]
    for name in ("slowest_input_ms", "peak_rss_mb", "coverage_edges", "coverage_features"):
        figures[name] = max(figures[name], noted[name])
    figures["corpus_inputs"] = len(list((CORPUS / target).iterdir()))
    figures["failures"] |= noted["failures"]
    if ended.returncode and not noted["executions"]:
        raise SystemExit(f"fuzz: {target} does not start:\n{log[-2000:]}")


def children_seconds() -> float:
    """Return the CPU time of all children so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def noted_by(target: str, code: int, log: str) -> dict[str, Any]:
    """Return what a child noted; one that died tells of a failure that its own code could not catch."""
    path = STATS / f"{target}.json"
    noted: dict[str, Any] = dict.fromkeys(("executions", "slowest_input_ms", "peak_rss_mb"), 0) | {"failures": {}}
    if path.exists():
        noted |= json.loads(path.read_text(encoding="utf-8"))
    noted["coverage_edges"] = max(map(int, re.findall(r"cov: (\d+)", log)), default=0)
    noted["coverage_features"] = max(map(int, re.findall(r"ft: (\d+)", log)), default=0)
    if code:
        saved = re.findall(r"Test unit written to \S*?(\.fuzz/\S+)", log)
        noted["failures"][f"the process ended with {code}"] = saved[-1] if saved else f".fuzz/{target}.log"
    return noted


def machine() -> dict[str, Any]:
    """Return what a reader has to know to compare: no name, no path."""
    return {
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


_NOTHING = dict.fromkeys(
    (
        "cpu_seconds",
        "wall_seconds",
        "executions",
        "corpus_inputs",
        "coverage_edges",
        "coverage_features",
        "peak_rss_mb",
        "slowest_input_ms",
    ),
    0,
)


def fuzz_all(targets: list[str], seconds: int) -> int:
    """Let the targets take turns until the time is used up; return how many kinds of failure there were."""
    results: dict[str, Any] = {target: _NOTHING | {"failures": {}} for target in targets}
    share = seconds / len(targets)
    for target in targets:
        seed(target)
    while waiting := [target for target in targets if results[target]["cpu_seconds"] < share]:
        for target in waiting:
            left = share - results[target]["cpu_seconds"]
            run_turn(target, max(1, min(TURN_SECONDS, left)), results[target])
            keep(results)
            print(f"fuzz: {target}: {json.dumps(results[target])}", file=sys.stderr, flush=True)
    return sum(len(each["failures"]) for each in results.values())


def keep(results: dict[str, Any]) -> None:
    """Write the figures so far."""
    failures = sum(len(each["failures"]) for each in results.values())
    result = {
        "benchmark": "fuzz",
        "verdict": "does not hold" if failures else "holds",
        "ended": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": machine(),
        "limits": {"input_cpu_seconds": INPUT_SECONDS_MAX, "rss_mb": RSS_BYTES_MAX >> 20},
        "figures": {
            "cpu_seconds": sum(each["cpu_seconds"] for each in results.values()),
            "executions": sum(each["executions"] for each in results.values()),
            "failures": failures,
            "targets": results,
        },
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def main() -> int:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--seconds", type=int, default=3600, help="CPU time of all targets together (default: %(default)s)"
    )
    parser.add_argument("--targets", default="", help="names with commas between (default: all)")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    sys.path[:0] = [str(ROOT), str(ROOT / "src")]
    if given.one:
        fuzz_target(given.one, given.seconds)
    from tests.fuzz.targets import TARGETS  # noqa: PLC0415 - needs the folder of the repository

    names = [name for name in given.targets.split(",") if name] or list(TARGETS)
    if unknown := set(names) - set(TARGETS):
        parser.error(f"there is no target {min(unknown)!r}; there are {', '.join(TARGETS)}")
    return int(fuzz_all(names, given.seconds) > 0)


if __name__ == "__main__":
    sys.exit(main())
