"""The habits of builds of Claude Code, at their edges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.replay.client_builds import ClientBuild, build_of


@pytest.mark.parametrize(
    ("client", "habits"),
    [
        ("claude-code/1.0.98", ClientBuild(False, False, True, True)),
        ("claude-code/2.0.66", ClientBuild(False, False, True, True)),
        ("claude-code/2.0.67", ClientBuild(True, True, True, True)),
        ("claude-code/2.1.37", ClientBuild(True, True, True, True)),
        ("claude-code/2.1.38", ClientBuild(True, True, False, True)),
        ("claude-code/2.1.329", ClientBuild(True, True, False, True)),
        ("claude-code/2.1.330", ClientBuild(True, True, False, False)),
        ("claude-code", ClientBuild()),
        ("python-sdk/2.1.7", ClientBuild()),
        (None, ClientBuild()),
    ],
)
def test_habits_change_at_known_builds(client: str | None, habits: ClientBuild) -> None:
    """Each habit begins or ends at the build that its source names; other clients have none."""
    assert habits == build_of(client)


@given(st.text())
def test_any_other_name_has_no_habits(client: str) -> None:
    """Whatever a recording says, there is an answer."""
    assert client.startswith("claude-code/") or ClientBuild() == build_of(client)
