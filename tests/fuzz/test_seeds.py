"""The fuzz targets on their committed seeds, and on every input that once failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.targets import FAILURES, SEEDS, TARGETS, read_seed, run

INPUTS = [
    pytest.param(target, path, id=f"{target}-{path.name}")
    for target in TARGETS
    for folder in (SEEDS, FAILURES)
    for path in (sorted((folder / target).iterdir()) if (folder / target).is_dir() else [])
]


@pytest.mark.parametrize(("target", "path"), INPUTS)
def test_each_input_is_read_as_it_should_be(target: str, path: Path) -> None:
    """No reader crashes on it, and what it says of it does not contradict itself."""
    run(target, read_seed(path))


def test_every_target_has_a_seed() -> None:
    """A target that starts from nothing finds nothing."""
    assert {*TARGETS} == {target for target in TARGETS if any((SEEDS / target).iterdir())}
