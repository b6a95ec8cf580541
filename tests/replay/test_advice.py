"""The words of an audit: every cause that anything of ours can name has its own."""

from __future__ import annotations

import pytest

from scrimp.core.wire.cachekey import SETTING_NAMES
from scrimp.replay.advice import ADVICE, CHANGED, advice_for
from tests.simulation.breaks import CHANGES

SETTINGS = {name for names in SETTING_NAMES.values() for name in names}
OF_THE_CACHE = {"below_minimum", "concurrency", "ttl_expired", "unknown", "look_back", "not_marked"}
OF_THE_API = {"model_changed", "tools_changed", "system_changed", "messages_changed"}


def test_every_cause_has_its_words() -> None:
    """Kinds that are injected, settings of the key, causes of the cache itself, and the API's own."""
    causes = {kind.cause for kind in CHANGES} | SETTINGS | OF_THE_CACHE | OF_THE_API
    assert set() == causes - set(ADVICE)


@pytest.mark.parametrize("cause", ADVICE)
def test_words_make_sentences(cause: str) -> None:
    """The fix is one sentence that fits a line or two; what happened goes into one."""
    advice = advice_for(cause)
    assert (True, True, False) == (advice.fix[0].isupper(), advice.fix.endswith("."), advice.meaning.endswith("."))
    assert len(advice.fix) < 140


def test_the_two_pitfalls_have_their_names() -> None:
    """Those that issue C names."""
    assert "variable content before stable content" == advice_for("date").kind
    assert "caching across long idle gaps" == advice_for("ttl_expired").kind


def test_an_unknown_cause_is_shown_as_it_is() -> None:
    """A ledger of a newer version may name more than we know."""
    advice = advice_for("moon_phase")
    assert (CHANGED, True) == (advice.kind, "moon_phase" in advice.meaning)
