"""What a gateway costs: ours with its ledger on, nginx and LiteLLM beside one another and beside no gateway at all.

    python bench/gateway.py [NAME...]

The API is played by a stub in C, the clients by a loader in C (../shared/tools/gateway-bench), built here. Bodies of
2 KB and 200 KB, plain and streamed, over 1, 8 and 64 connections. In each round every gateway has its turn, forwards
and backwards by turns, beside a turn without one; figures are medians over the rounds. CPU is what the gateway's
processes used, user and system, per request: of a shared machine that is the figure to trust. Ours is also sent what
agents send: conversations that grow and some never seen, and bodies of 1 MB while its event loop is timed.

Exit code 0: the limits hold; 1: one does not; 2: no compiler, or the tools are not there.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from peers import OURS, Absent, Running, free_port, litellm, nginx, output_of, scrimp
from peers.bodies import conversation
from peers.kept import instead

TOOLS = Path(__file__).resolve().parents[2] / "shared" / "tools" / "gateway-bench"
BLOCKED = Path(__file__).resolve().parent / "peers" / "blocked.py"
GATEWAYS: dict[str, Callable[[str, Path], AbstractContextManager[Running]]] = {
    OURS: scrimp,
    "nginx": nginx,
    "LiteLLM": litellm(""),
}
DIRECT = "direct"
BODIES = ("2k", "2k_stream", "200k", "200k_stream")
AT_ONCE = (1, 8, 64)
ROUNDS = 3
SECONDS, DIRECT_SECONDS, WARM_SECONDS = 1.5, 0.5, 1.0
REQUESTS_MAX = 300_000

#: The promises: CPU per request at every concurrency, and what the median request may take longer with one connection.
CPU_MS_MAX = {"2k": 0.8, "2k_stream": 0.8, "200k": 2.5, "200k_stream": 2.5}
ADDED_P50_MS_MAX = {"2k": 1.0, "2k_stream": 1.0, "200k": 3.0, "200k_stream": 3.0}
BLOCKED_MS_MAX = 5.0
IDLE_RSS_MB_MAX = 80.0

#: What agents send: how many conversations, how many requests of each, how many turns the first one has, and one
#: that was never seen: 200 KB on average.
CONVERSATIONS, REQUESTS_EACH, FIRST_TURNS, UNSEEN_TURNS = 6, 30, 25, 40
#: Bodies of 1 MB: how many, and (turns, characters of each result) of both shapes.
LARGE_COUNT = 12
LARGE = {"many blocks": (270, 3_300), "one block": (1, 960_000)}

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
Cell = tuple[str, int]


# --- the tools --------------------------------------------------------------------------------------------------


def built(folder: Path) -> None:
    """Put the stub, the loader and the bodies into a folder. Raises `Absent`."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise Absent("there is no C compiler `cc`: apt-get install gcc")
    if not TOOLS.is_dir():
        raise Absent("../shared/tools/gateway-bench is not there")
    for name in ("stub", "load"):
        subprocess.run([compiler, "-O2", "-w", "-o", str(folder / name), str(TOOLS / f"{name}.c")], check=True)
    subprocess.run([sys.executable, str(TOOLS / "make_bodies.py")], cwd=folder, check=True, stdout=subprocess.DEVNULL)


@contextmanager
def stub(folder: Path) -> Iterator[int]:
    """Run the API's stub; yields its port."""
    port = free_port()
    running = subprocess.Popen([str(folder / "stub"), str(port)])
    try:
        time.sleep(0.2)
        yield port
    finally:
        running.terminate()
        running.wait()


def load(folder: Path, url: str, cell: Cell, seconds: float, key: str | None) -> dict[str, float]:
    """Send one body over so many connections for so long; return what the loader says, times in milliseconds."""
    body, at_once = cell
    port, _, route = url.removeprefix("http://127.0.0.1:").partition("/")
    path = f"/{route}/v1/messages" if route else "/v1/messages"
    size = (str(at_once), str(seconds), str(REQUESTS_MAX))
    said = output_of(str(folder / "load"), port, path, str(folder / f"body_{body}.json"), *size, f"x-api-key: {key}")
    found: dict[str, float] = json.loads(said.splitlines()[0])
    if found["non200"] or found["errs"] or not found["ok"]:
        raise RuntimeError(f"{url} does not serve {body} to {at_once} at once: {said}")
    return found


# --- processes --------------------------------------------------------------------------------------------------


def tree(pid: int) -> list[int]:
    """Return a process and all that it has started."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            parents[int(entry.name)] = int(fields[1]) if fields else 0
    found = [pid]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found


def _stat(pid: int) -> list[str]:
    """Return what stands after the name in /proc/PID/stat; nothing of a process that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return []


def cpu_s(pid: int) -> float:
    """Return the CPU seconds, user and system, of a process and all that it has started."""
    used = (fields[11:13] for each in tree(pid) if (fields := _stat(each)))
    return sum(int(ticks) for pair in used for ticks in pair) / TICKS_PER_S


def rss_mb(pid: int) -> float:
    """Return the resident memory of a process and all that it has started, in MB; shared pages count in each."""
    pages = sum(int(fields[21]) for each in tree(pid) if (fields := _stat(each)))
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


# --- one body, again and again ----------------------------------------------------------------------------------


def turn(folder: Path, gateway: Running, cell: Cell, direct: dict[str, float]) -> dict[str, float]:
    """Measure one gateway at one cell, beside what was measured without one."""
    before = cpu_s(gateway.pid)
    found = load(folder, gateway.url, cell, SECONDS, gateway.key or "sk-fake")
    used = cpu_s(gateway.pid) - before
    return {
        "cpu_ms": used * 1e3 / found["ok"],
        "added_p50_ms": found["p50"] - direct["p50"],
        "added_p99_ms": found["p99"] - direct["p99"],
    }


def rounds(folder: Path, port: int, gateways: dict[str, Running]) -> dict[str, dict[Cell, dict[str, float]]]:
    """Return the medians of every gateway and of none, by cell."""
    taken: dict[str, dict[Cell, list[dict[str, float]]]] = {name: {} for name in (DIRECT, *gateways)}
    for number in range(ROUNDS):
        print(f"gateway: round {number + 1} of {ROUNDS}", file=sys.stderr)
        for cell in product(BODIES, AT_ONCE):
            direct = load(folder, f"http://127.0.0.1:{port}", cell, DIRECT_SECONDS, "sk-fake")
            taken[DIRECT].setdefault(cell, []).append({"p50_ms": direct["p50"], "p99_ms": direct["p99"]})
            for name in list(gateways)[:: -1 if number % 2 else 1]:
                taken[name].setdefault(cell, []).append(turn(folder, gateways[name], cell, direct))
    return {name: {cell: _medians(each) for cell, each in cells.items()} for name, cells in taken.items()}


def _medians(turns: Sequence[dict[str, float]]) -> dict[str, float]:
    return {figure: round(median(each[figure] for each in turns), 3) for figure in turns[0]}


def by_figure(cells: dict[Cell, dict[str, float]]) -> dict[str, dict[str, list[float]]]:
    """Return figure -> body -> one value for each of `AT_ONCE`."""
    figures = next(iter(cells.values()))
    return {name: {body: [cells[body, each][name] for each in AT_ONCE] for body in BODIES} for name in figures}


# --- what agents send, to ours ----------------------------------------------------------------------------------


def post(connection: http.client.HTTPConnection, body: bytes) -> None:
    """Send one request and read its answer to the end."""
    connection.request("POST", "/v1/messages", body, {"content-type": "application/json", "x-api-key": "sk-fake"})
    answer = connection.getresponse()
    if answer.status != http.client.OK or not answer.read():
        raise RuntimeError(f"the gateway answers {answer.status}")


def cpu_ms_of(gateway: Running, bodies: Sequence[bytes]) -> float:
    """Send bodies one after the other; return the CPU of one in milliseconds."""
    connection = http.client.HTTPConnection(gateway.url.removeprefix("http://"))
    before = cpu_s(gateway.pid)
    for body in bodies:
        post(connection, body)
    used = cpu_s(gateway.pid) - before
    connection.close()
    return used * 1e3 / len(bodies)


def agents(gateway: Running) -> dict[str, float]:
    """Return the CPU of a request whose conversation grows by a turn each time, and of one never seen in any part."""
    grown, unseen = [], []
    for number in range(ROUNDS * CONVERSATIONS):
        bodies = list(conversation(f"grows {number}", FIRST_TURNS, REQUESTS_EACH))
        grown.append(cpu_ms_of(gateway, bodies))
    for number in range(ROUNDS):
        bodies = [next(conversation(f"{number} {each}", UNSEEN_TURNS, 1)) for each in range(REQUESTS_EACH)]
        unseen.append(cpu_ms_of(gateway, bodies))
    return {"a conversation that grows": round(median(grown), 3), "never seen": round(median(unseen), 3)}


def blocked_ms(port: int, folder: Path) -> dict[str, dict[str, float]]:
    """Return the longest turn of the event loop while bodies of 1 MB are served: medians and the worst."""
    command = [sys.executable, str(BLOCKED), f"http://127.0.0.1:{port}", str(folder / "blocked.db")]
    kept: dict[str, list[list[float]]] = {}
    for shape, (turns, chars) in LARGE.items():
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
            if running.stdout is None:
                raise RuntimeError("its output has to be read")
            connection = http.client.HTTPConnection(running.stdout.readline().strip().removeprefix("http://"))
            for number in range(LARGE_COUNT + 1):
                post(connection, next(conversation(f"{shape} {number}", turns, 1, chars)))
            connection.close()
            kept[shape] = json.loads(running.communicate()[0])[1:]  # the first one imports
    return {
        shape: {
            "cpu_ms": round(median(cpu for _, cpu in turns), 2),
            "clock_ms": round(median(clock for clock, _ in turns), 2),
            "worst_cpu_ms": round(max(cpu for _, cpu in turns), 2),
        }
        for shape, turns in kept.items()
    }


# --- all of it --------------------------------------------------------------------------------------------------


def measure(folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """Return every figure."""
    built(folder)
    figures: dict[str, Any] = {"connections": list(AT_ONCE), "rounds": ROUNDS}
    with ExitStack() as stack:
        port = stack.enter_context(stub(folder))
        gateways, missing = started(stack, folder, f"http://127.0.0.1:{port}", names)
        for each in gateways.values():
            load(folder, each.url, ("2k", 1), 0.1, each.key or "sk-fake")
        idle = {name: rss_mb(each.pid) for name, each in gateways.items()}
        for each, body in product(gateways.values(), BODIES):
            load(folder, each.url, (body, 8), WARM_SECONDS, each.key or "sk-fake")
        found = rounds(folder, port, gateways)
        figures[DIRECT] = by_figure(found[DIRECT])
        for name, each in gateways.items():
            rss = {"idle": round(idle[name], 1), "after_load": round(rss_mb(each.pid), 1)}
            figures[name] = {"version": each.version, **by_figure(found[name]), "rss_mb": rss}
        if OURS in gateways:
            figures[OURS]["cpu_ms_of_200k_stream"] = agents(gateways[OURS])
            figures[OURS]["loop_blocked_by_1_mb"] = blocked_ms(port, folder)
    return figures | {name: instead("gateway", name, line) for name, line in missing.items()}


def started(
    stack: ExitStack, folder: Path, upstream: str, names: Sequence[str]
) -> tuple[dict[str, Running], dict[str, str]]:
    """Start what is installed; return that, and how to get the others."""
    gateways, missing = {}, {}
    for name in names:
        place = folder / name
        place.mkdir()
        try:
            gateways[name] = stack.enter_context(GATEWAYS[name](upstream, place))
        except Absent as absent:
            missing[name] = str(absent)
            print(f"gateway: {name} is not installed. To have it: {absent}", file=sys.stderr)
    return gateways, missing


def broken(ours: dict[str, Any]) -> Iterator[str]:
    """Yield each limit that does not hold."""
    for body, limit in CPU_MS_MAX.items():
        if max(ours["cpu_ms"][body]) > limit:
            yield f"{body}: {max(ours['cpu_ms'][body])} ms of CPU, limit {limit}"
    for body, limit in ADDED_P50_MS_MAX.items():
        if ours["added_p50_ms"][body][0] > limit:
            yield f"{body}: {ours['added_p50_ms'][body][0]} ms added, limit {limit}"
    for shape, turn in ours["loop_blocked_by_1_mb"].items():
        if turn["cpu_ms"] > BLOCKED_MS_MAX:
            yield f"1 MB, {shape}: the loop is blocked for {turn['cpu_ms']} ms, limit {BLOCKED_MS_MAX}"
    if ours["rss_mb"]["idle"] > IDLE_RSS_MB_MAX:
        yield f"{ours['rss_mb']['idle']} MB idle, limit {IDLE_RSS_MB_MAX}"


def main() -> int:
    """Run what was asked for, all by default; print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(GATEWAYS)} (default: all)")
    names = parser.parse_args().names or list(GATEWAYS)
    if unknown := set(names) - set(GATEWAYS):
        parser.error(f"there is no gateway {min(unknown)!r}; there are {', '.join(GATEWAYS)}")
    with tempfile.TemporaryDirectory() as folder:
        try:
            figures = measure(Path(folder), names)
        except Absent as absent:
            print(f"gateway: NOT MEASURED, {absent}", file=sys.stderr)
            return 2
    limits = list(broken(figures[OURS])) if OURS in figures else []
    json.dump(figures | {"broken_limits": limits}, sys.stdout, indent=2)
    sys.stdout.write("\n")
    return int(bool(limits))


if __name__ == "__main__":
    sys.exit(main())
