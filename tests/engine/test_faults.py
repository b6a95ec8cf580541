"""A fault of ours is logged by kind and place, and quotes nothing."""

from __future__ import annotations

import pytest

from scrimp.engine.faults import own_up


def test_the_log_names_the_place_and_not_the_words(caplog: pytest.LogCaptureFixture) -> None:
    """An exception's message may hold prompt text, so it stays out."""

    def breaks() -> None:
        raise ValueError("my secret prompt")

    try:
        breaks()
    except ValueError as error:
        own_up("planning failed", error)

    assert "planning failed (ValueError in breaks, line " in caplog.text
    assert "secret" not in caplog.text
