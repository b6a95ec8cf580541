"""The anthropic SDKs under faults do the same through the gateway as without it.

How often they ask again, what they raise, and what they take for an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import source
from tests.e2e.scripts import Scripts
from tests.e2e.source import Ending, Step, error, event, say, stream, text
from tests.e2e.twice import Trials

pytestmark = pytest.mark.clients

#: How long the SDKs wait for a byte here; programs/typescript.mjs says the same.
PATIENCE_SECONDS = 2
DONE = text("Done.")
OVERLOADED = error(529, "overloaded_error", "Overloaded")
STREAM_ERROR = event("error", error={"type": "overloaded_error", "message": "Overloaded"})

#: name -> the script, and the answers that an SDK comes to have of it: it asks twice more, and never within a stream.
FAULTS: dict[str, tuple[Sequence[Step], str]] = {
    "none": ([], "200"),
    "429-retry-after": ([error(429, "rate_limit_error", "Slow down", retry_after="1")], "429 200"),
    "429-should-not-retry": ([error(429, "rate_limit_error", "No", x_should_retry="false")], "429"),
    "429-for-good": ([error(429, "rate_limit_error", "Slow down", retry_after="0")] * 9, "429 429 429"),
    "529": ([OVERLOADED], "529 200"),
    "529-twice": ([OVERLOADED] * 2, "529 529 200"),
    "529-for-good": ([OVERLOADED] * 9, "529 529 529"),
    "500-html": ([source.html(500)] * 9, "500 500 500"),
    "400": ([error(400, "invalid_request_error", "Something is not right")], "400"),
    "413": ([error(413, "request_too_large", "Too large")], "413"),
    "silent": ([source.nothing(Ending.SILENT)], "none 200"),
    "reset": ([source.nothing(Ending.RESET)], "none 200"),
}
BROKEN: dict[str, Step] = {
    "cut": stream(lambda events: events[:3], DONE, ending=Ending.CUT),
    "clean-eof": stream(lambda events: events[:3], DONE, ending=Ending.WHOLE),
    "silence": stream(lambda events: events[:3], DONE, ending=Ending.SILENT),
    "error-event": stream(lambda events: [*events[:3], STREAM_ERROR], DONE, ending=Ending.WHOLE),
}


REQUEST: Any = {"model": "claude-opus-5-5", "max_tokens": 1000, "messages": [{"role": "user", "content": "look"}]}


def _sdk(url: str) -> Any:
    from anthropic import Anthropic

    return Anthropic(base_url=url, api_key="sk-ant-fake-sdk", timeout=PATIENCE_SECONDS)


def _python(url: str, ask: Callable[[Any], Any]) -> Any:
    """Return what the Python SDK made of an answer, or what it raised."""
    from anthropic import AnthropicError
    from httpx2 import HTTPError

    with _sdk(url) as client:
        try:
            return ask(client).to_dict()
        except (AnthropicError, HTTPError) as raised:
            return {"raised": type(raised).__name__, "body": getattr(raised, "body", str(raised))}


def _create(client: Any) -> Any:
    return client.messages.create(**REQUEST)


def _stream(client: Any) -> Any:
    with client.messages.stream(**REQUEST) as streamed:
        return streamed.get_final_message()


@pytest.mark.parametrize("ask", [_create, _stream])
@pytest.mark.parametrize("name", FAULTS)
def test_the_python_sdk(trials: Trials, name: str, ask: Callable[[Any], Any]) -> None:
    """Python: the same requests, and the same message or exception."""
    script, answers = FAULTS[name]
    trial = trials.make(script, say(DONE))
    trial.run(lambda url, _: _python(url, ask))

    assert answers == trial.asked().replace("p", "")


@pytest.mark.parametrize("way", ["create", "stream"])
@pytest.mark.parametrize("name", FAULTS)
def test_the_typescript_sdk(trials: Trials, typescript: Scripts, name: str, way: str) -> None:
    """TypeScript: the same requests, and the same message or exception."""
    script, answers = FAULTS[name]
    trial = trials.make(script, say(DONE))
    trial.run(lambda url, _: typescript.run(url, "typescript.mjs", way))

    assert answers == trial.asked().replace("p", "")


@pytest.mark.parametrize("name", BROKEN)
def test_the_python_sdk_in_a_broken_stream(trials: Trials, name: str) -> None:
    """A stream is never asked for again; one that just ends is taken for whole, with and without the gateway."""
    trial = trials.make([BROKEN[name]], say(DONE))
    told = trial.run(lambda url, _: _python(url, _stream))

    assert "200" == trial.asked()
    assert (name == "clean-eof") == ("raised" not in told)


@pytest.mark.parametrize("name", [name for name in BROKEN if name != "silence"])
def test_the_typescript_sdk_in_a_broken_stream(trials: Trials, typescript: Scripts, name: str) -> None:
    """As in Python, but what just ends raises, too; a silent stream is waited for without end."""
    trial = trials.make([BROKEN[name]], say(DONE))
    told = trial.run(lambda url, _: typescript.run(url, "typescript.mjs", "stream"))

    assert "200" == trial.asked()
    assert "raised" in told


def test_a_structured_answer(trials: Trials) -> None:
    """`parse` sends its schema and reads the answer by it, as without the gateway."""
    from pydantic import BaseModel

    class File(BaseModel):
        name: str
        lines: int

    def client(url: str, _: Path) -> Any:
        with _sdk(url) as sdk:
            return sdk.messages.parse(output_format=File, **REQUEST).parsed_output.model_dump()

    trial = trials.make([say(text('{"name": "a.py", "lines": 3}'))], say(DONE))

    assert {"name": "a.py", "lines": 3} == trial.run(client)
    assert b"json_schema" in trial.behind.seen[0].body
