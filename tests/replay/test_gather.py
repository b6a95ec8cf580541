"""From paths to accounts: sessions, traces of chats, both, and what is wrong with them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from scrimp.errors import TraceFormatError
from scrimp.replay.gather import gather
from tests.replay.transcripts import Transcript

CHAT = b'{"timestamp": 0, "input_length": 1024, "output_length": 1, "hash_ids": [1, 2]}\n'


def _session(folder: Path) -> None:
    session = Transcript()
    session.user(0, "hi")
    session.answer(1, "m1", 10_000)
    (folder / "s1.jsonl").write_bytes(session.source().data)


def test_sessions_become_accounts(tmp_path: Path) -> None:
    """With their exchanges and links, against which the prediction is scored."""
    _session(tmp_path)
    material = gather([str(tmp_path)])
    assert ([1], 1, ["m1"], 1) == (
        [len(steps) for steps in material.accounts.values()],
        len(material.exchanges),
        list(material.links),
        material.files,
    )


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_trace_of_chats_is_an_account(tmp_path: Path, pack: type[bytes]) -> None:
    """By what is in it, packed or not; it has no recorded bills."""
    (tmp_path / "chat.jsonl").write_bytes(pack(CHAT + b"nonsense\n"))
    material = gather([str(tmp_path / "chat.jsonl")])
    assert (["chat.jsonl"], (), 1) == (list(material.accounts), material.exchanges, material.files)
    assert 1 == len(material.problems)


def test_both_may_lie_in_one_folder(tmp_path: Path) -> None:
    """Each file is read by whom it is meant for."""
    _session(tmp_path)
    (tmp_path / "chat.jsonl").write_bytes(CHAT)
    material = gather([str(tmp_path)])
    assert (2, 2, []) == (len(material.accounts), material.files, material.problems)


def test_nothing_to_replay_is_an_error(tmp_path: Path) -> None:
    """A path that does not exist, and sessions that say nothing of what they used."""
    with pytest.raises(TraceFormatError):
        gather([str(tmp_path / "missing")])
    silent = Transcript()
    silent.user(0, "hi")
    (tmp_path / "s1.jsonl").write_bytes(silent.source().data)
    with pytest.raises(TraceFormatError):
        gather([str(tmp_path)])
