"""Reading the links of whole folders."""

from __future__ import annotations

import gzip
from pathlib import Path

from scrimp.replay.traces.links import links_of
from tests.replay.transcripts import Transcript


def test_sessions_of_a_folder_are_read_and_other_files_are_not(tmp_path: Path) -> None:
    """Packed or not, sessions give their links; what is no session gives none and is no error here."""
    for name in ("a", "b"):
        session = Transcript(session=name)
        session.user(0, "go")
        session.answer(2, f"m{name}", 10_000)
        data = session.source().data
        (tmp_path / f"{name}.jsonl{'.gz' if name == 'b' else ''}").write_bytes(
            gzip.compress(data) if name == "b" else data
        )
    (tmp_path / "other.json").write_text("[1, 2]")

    assert {"ma", "mb"} == set(links_of([str(tmp_path)]))


def test_a_path_that_is_not_there_has_no_links(tmp_path: Path) -> None:
    """Finding out is for the reader of exchanges to report."""
    assert {} == links_of([str(tmp_path / "nowhere")])
