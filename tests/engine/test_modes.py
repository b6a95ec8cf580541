"""What may be done to a request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.plan.planning import Mode
from scrimp.engine.modes import ORDER, mode_of

TOKEN = {"authorization": "Bearer sk-ant-oat01-fake", "anthropic-beta": "oauth-2025-04-20"}
KEY = {"x-api-key": "sk-ant-fake"}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (KEY, "safe"),
        ({"authorization": "Bearer sk-ant-api03-fake"}, "safe"),
        (TOKEN, "observe"),
        ({"authorization": "bearer sk-ant-oat01-fake"}, "observe"),
        ({"authorization": " BEARER  sk-ant-oat01-fake "}, "observe"),
        ({"authorization": "sk-ant-oat01-fake"}, "observe"),
        ({"x-api-key": "sk-ant-oat01-fake"}, "observe"),
        ({"authorization": "Basic other"}, "safe"),
        ({"authorization": "Bearer other", "anthropic-beta": "a,oauth-2025-04-20"}, "observe"),
    ],
)
def test_a_subscription_is_only_observed(headers: dict[str, str], expected: Mode) -> None:
    """An API key is worked on as the owner says, a subscription never."""
    assert expected == mode_of(headers, "safe")


@given(st.sampled_from(ORDER), st.sampled_from([*ORDER, "", "nonsense", "FULL "]))
def test_a_request_may_lower_its_mode_and_never_raise_it(setting: Mode, asked: str) -> None:
    """The mode is the asked one where that is lower than the setting, else the setting."""
    lower = ORDER[: ORDER.index(setting)]
    expected = asked.strip().lower() if asked.strip().lower() in lower else setting
    assert expected == mode_of({**KEY, "scrimp-mode": asked}, setting)
