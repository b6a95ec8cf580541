"""Does the same work on many things, one after the other or side by side; the only place that knows how.

Side by side is joblib's where it is installed (`pip install 'scrimp[replay]'`), so a program that calls us inside
`joblib.parallel_config(backend=...)` spreads over its Ray, Dask or Spark cluster; else it is processes of this machine.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def spread(work: Callable[[T], R], things: Sequence[T], jobs: int = 1) -> Iterator[R]:
    """Yield what `work` makes of each thing, in any order, by at most `jobs` processes at once."""
    if jobs == 1 or len(things) < 2:  # noqa: PLR2004 - one thing cannot be spread
        yield from map(work, things)
    elif importlib.util.find_spec("joblib"):
        yield from _by_joblib(work, things, jobs)
    else:
        yield from _by_processes(work, things, jobs)


def _by_joblib(work: Callable[[T], R], things: Sequence[T], jobs: int) -> Iterator[R]:
    from joblib import Parallel, delayed  # noqa: PLC0415 - an extra, and slow to import

    yield from Parallel(n_jobs=jobs)(delayed(work)(thing) for thing in things)


def _by_processes(work: Callable[[T], R], things: Sequence[T], jobs: int) -> Iterator[R]:
    from concurrent.futures import ProcessPoolExecutor, as_completed  # noqa: PLC0415 - slow to import

    with ProcessPoolExecutor(jobs) as pool:
        for done in as_completed([pool.submit(work, thing) for thing in things]):
            yield done.result()
