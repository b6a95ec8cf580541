"""Reading with several processes: shares are fair, traces are those of one process, and a lost child costs nothing."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.usage import Usage, UsageLine
from scrimp.replay.traces import workers
from scrimp.replay.traces.trace import Compaction, Problem, Trace
from scrimp.replay.traces.workers import Readers, processors, shares_of

#: Newer Pythons warn of forking beside threads, which the runner of parallel tests has.
FORKS = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
SIZES = st.dictionaries(st.text(min_size=1), st.integers(0, 50_000_000), max_size=30)


@given(SIZES, st.integers(1, 20))
def test_every_file_is_in_one_share(sizes: dict[str, int], count: int) -> None:
    """Nothing is lost or dealt twice, and no share is worth less than its start."""
    shares = shares_of(list(sizes.items()), count)
    assert sorted(sizes) == sorted(path for share in shares for path in share.files)
    assert 1 <= len(shares) <= max(1, min(count, workers.WORKERS_MAX, sum(sizes.values()) // workers.BYTES_PER_WORKER))


@given(st.lists(st.integers(1, 5_000_000), min_size=50, max_size=60))
def test_shares_are_about_equal(sizes: list[int]) -> None:
    """No share is larger than another by more than one file."""
    shares = shares_of([(str(index), size) for index, size in enumerate(sizes)], 4)
    loads = [share.size_bytes for share in shares]
    assert max(loads) - min(loads) <= max(sizes)


def _files(folder: Path, count: int) -> list[str]:
    paths = [folder / f"{index}.jsonl" for index in range(count)]
    for path in paths:
        path.write_bytes(b"x" * workers.BYTES_PER_WORKER)
    return [str(path) for path in paths]


def _read(path: str) -> Trace:
    """Say which process read a file, in a trace that uses every field."""
    usage = Usage(1, 2, 3, 4, 5)
    exchange = Exchange(
        exchange_id=path, opened_at_ms=1, source="test", usage=usage, usage_lines=(UsageLine(usage, "m"),)
    )
    problem = Problem(path, str(os.getpid()), "")
    return Trace(path, "test", [exchange], [Compaction("s", 1)], [problem], {path}, {"p": "t"}, {"a": "p"})


@FORKS
def test_children_read_what_this_process_would(tmp_path: Path) -> None:
    """All traces come back whole and in the order of the files, read by more than one process."""
    files = _files(tmp_path, 4)
    traces = Readers(files, _read, 2).finish()
    here = [_read(path) for path in files]
    assert files == [trace.path for trace in traces]
    assert [each.exchanges for each in here] == [each.exchanges for each in traces]
    assert [(each.copied, each.launches, each.orphans) for each in here] == [
        (each.copied, each.launches, each.orphans) for each in traces
    ]
    assert 2 == len({trace.problems[0].what for trace in traces})


@FORKS
@pytest.mark.parametrize("way", ["raises", "dies", "writes too much"])
def test_a_lost_childs_share_is_read_here(tmp_path: Path, way: str) -> None:
    """Whatever a child does instead of its work, every file is read."""
    parent = os.getpid()

    def read(path: str) -> Trace:
        if os.getpid() == parent:
            return Trace(path, "here")
        if way == "raises":
            os.close(2)
            raise RuntimeError("lost")
        if way == "dies":
            os.kill(os.getpid(), 9)
        os.close(2)
        return Trace(path, "x" * 40_000_000)

    files = _files(tmp_path, 2)
    assert [(path, "here") for path in files] == [(each.path, each.kind) for each in Readers(files, read, 2).finish()]


def test_a_process_with_threads_does_not_fork() -> None:
    """A forked child would hold the locks of threads that it does not have."""
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        assert 1 == processors()
    finally:
        done.set()
        thread.join()


def test_one_worker_never_forks(tmp_path: Path) -> None:
    """Everything is read by this process, and progress sees each file."""
    seen: list[str] = []

    def watch(files: list[str]) -> Iterable[str]:
        for path in files:
            seen.append(path)
            yield path

    files = [*_files(tmp_path, 3), str(tmp_path / "gone")]
    traces = Readers(files, _read, 1).finish(watch)
    assert {str(os.getpid())} == {trace.problems[0].what for trace in traces}
    assert (sorted(files), files) == (sorted(seen), [trace.path for trace in traces])
