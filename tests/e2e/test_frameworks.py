"""langchain-anthropic, pydantic-ai and litellm as clients of the gateway: the bytes and the bill."""

from __future__ import annotations

import pytest

from tests.e2e.scripts import Scripts
from tests.e2e.stand import Stands

pytestmark = pytest.mark.clients

#: framework -> what the ledger calls it
FRAMEWORKS = {
    "langchain": "langchain-anthropic/1.7.7",
    "pydantic-ai": "pydantic-ai/2.68.0",
    "litellm": "litellm/1.106.2",
}


@pytest.mark.parametrize("way", ["create", "stream", "tools"])
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_framework(stands: Stands, python: Scripts, framework: str, way: str) -> None:
    """One answer, one stream and one loop over a tool: the text and the tool's uses are what the simulator said."""
    with stands.make() as stand:
        told = python.run(stand.url, "frameworks.py", framework, way)
    exchanges = stand.checked()

    assert told["text"]
    assert (["step-1", "step-2"] if way == "tools" else []) == told["looked"]
    assert (3 if way == "tools" else 1) == len(exchanges)
    assert {FRAMEWORKS[framework]} == {exchange.client for exchange in exchanges}
