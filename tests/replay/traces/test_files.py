"""Bytes of a file: plain or gzip, whole or damaged."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.replay.traces.files import load, unpack

BODY = os.urandom(50_000) + b"x" * 50_000


@given(st.lists(st.binary(max_size=500), min_size=1, max_size=4))
def test_gzip_of_several_members_is_unpacked(parts: list[bytes]) -> None:
    """Concatenated members give their concatenated contents, as gzip itself does."""
    assert (b"".join(parts), None) == unpack(b"".join(map(gzip.compress, parts)))


def test_a_gzip_cut_short_gives_what_came_before() -> None:
    """The part before the cut is used, and the cut is told."""
    packed = gzip.compress(BODY)
    data, what = unpack(packed[: len(packed) // 2])
    assert ("this gzip file is cut short", True, True) == (what, BODY.startswith(data), len(data) > 10_000)


def test_a_damaged_gzip_gives_what_came_before() -> None:
    """A wrong check sum at the end costs only the last piece."""
    packed = bytearray(gzip.compress(BODY))
    packed[-8] ^= 0xFF
    data, what = unpack(bytes(packed))
    assert ("this gzip file is damaged", True, True) == (what, BODY.startswith(data), len(data) > 40_000)


def test_a_gzip_that_unpacks_to_too_much_is_cut() -> None:
    """A bomb is read up to the limit only."""
    data, what = unpack(gzip.compress(bytes(100_000)), limit=1_000)
    assert (1_000, "this gzip file unpacks to more than is read") == (len(data), what)


def test_plain_files_are_read_as_they_are(tmp_path: Path) -> None:
    """A file that is no gzip, whatever its name, is its own content."""
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(b"plain")
    assert (b"plain", []) == load(str(path))


@pytest.mark.parametrize(("name", "why"), [("gone", "No such file or directory"), ("folder", "Is a directory")])
def test_a_file_that_cannot_be_opened_is_a_problem(tmp_path: Path, name: str, why: str) -> None:
    """It gives no bytes, and the system's own reason."""
    (tmp_path / "folder").mkdir()
    data, problems = load(str(tmp_path / name))
    assert (b"", [f"this file cannot be opened ({why})"]) == (data, [each.what for each in problems])


def test_a_file_cut_short_is_a_problem_with_its_path(tmp_path: Path) -> None:
    """Loading tells which file it was."""
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(BODY)[:-10])
    _, problems = load(str(path))
    assert [f"{path}: this gzip file is cut short; the part before that is used."] == list(map(str, problems))
