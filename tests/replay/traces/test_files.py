"""Bytes of a file: plain or gzip, whole or damaged."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.replay.traces import files
from scrimp.replay.traces.files import FILE_BYTES_MAX, load, unpack

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


def test_a_wrong_check_sum_costs_nothing() -> None:
    """All that was packed is there, also where it is less than a piece; a later member is lost."""
    for body in (BODY, b"row\n" * 32):
        packed = bytearray(gzip.compress(body))
        packed[-8] ^= 0xFF
        assert (
            (body, "this gzip file is damaged") == unpack(bytes(packed)) == unpack(bytes(packed) + gzip.compress(b"x"))
        )


@given(st.integers(2_000, 40_000), st.integers(1, 255))
def test_a_damaged_gzip_gives_what_came_before(at: int, flip: int) -> None:
    """A byte that is wrong costs what comes after it; what a stored block says before the damage is all there."""
    packed = bytearray(gzip.compress(BODY))
    packed[at] ^= flip
    data, what = unpack(bytes(packed))
    assert ("this gzip file is damaged", True) == (what, len(data) >= at - 100)
    assert BODY[: at - 100] == data[: at - 100]


def test_a_gzip_that_unpacks_to_too_much_is_cut() -> None:
    """A bomb is read up to the limit only."""
    data, what = unpack(gzip.compress(bytes(100_000)), limit=1_000)
    assert (1_001, "this gzip file unpacks to more than 512 MiB") == (len(data), what)
    assert (1_000, None) == (len((exact := unpack(gzip.compress(bytes(1_000)), limit=1_000))[0]), exact[1])


def test_too_large_a_file_is_not_read(tmp_path: Path) -> None:
    """The limit has a name and a unit, and the sentence says what to do. The file is sparse: it takes no room."""
    path = tmp_path / "large.jsonl"
    with path.open("wb") as file:
        file.truncate(FILE_BYTES_MAX + 1)
    data, problems = load(str(path))
    assert (
        b"",
        [f"{path}: this file is larger than 512 MiB; split it by lines, or an export by --since and --until."],
    ) == (
        data,
        list(map(str, problems)),
    )


def test_a_bomb_is_told_with_what_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The part up to the limit is used; the limit is played down, to keep the test small."""
    monkeypatch.setattr(files, "unpack", lambda data: unpack(data, limit=1_000))
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(bytes(100_000)))
    data, (problem,) = load(str(path))
    assert (1_001, True) == (len(data), problem.then.startswith("the part before that is used, split it by lines"))


def test_plain_files_are_read_as_they_are(tmp_path: Path) -> None:
    """A file that is no gzip, whatever its name, is its own content."""
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(b"plain")
    assert (b"plain", []) == load(str(path))


@pytest.mark.parametrize("packed", [False, True])
def test_a_byte_order_mark_is_dropped(tmp_path: Path, packed: bool) -> None:
    """Editors of Windows write one; it would make the first row unreadable."""
    path = tmp_path / "a.jsonl"
    data = b'\xef\xbb\xbf{"a":1}\n'
    path.write_bytes(gzip.compress(data) if packed else data)
    assert (b'{"a":1}\n', []) == load(str(path))


@pytest.mark.parametrize(
    ("name", "what", "then"),
    [
        ("gone", "this file is gone", "run again"),
        ("folder", "this is no regular file", "give a file, or a folder of files"),
        ("fifo", "this is no regular file", "give a file, or a folder of files"),
        ("link", "this link leads to no file", "mend it or remove it"),
        (
            "circle",
            "this file cannot be opened (Too many levels of symbolic links)",
            "allow reading it or leave it out",
        ),
    ],
)
def test_a_file_that_cannot_be_opened_is_a_problem(tmp_path: Path, name: str, what: str, then: str) -> None:
    """It gives no bytes, and is not waited for; each has its own remedy."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    data, problems = load(str(tmp_path / name))
    assert (b"", [(what, then)]) == (data, [(each.what, each.then) for each in problems])


def test_a_device_without_end_is_not_read() -> None:
    """It would fill the memory."""
    data, problems = load("/dev/zero")
    assert (b"", ["this is no regular file"]) == (data, [each.what for each in problems])


def test_a_file_cut_short_is_a_problem_with_its_path(tmp_path: Path) -> None:
    """Loading tells which file it was."""
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(BODY)[:-10])
    _, problems = load(str(path))
    assert [f"{path}: this gzip file is cut short; the part before that is used."] == list(map(str, problems))
