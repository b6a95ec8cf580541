"""The table of what is fuzzed: a target's name -> what is checked of one input, an exception being a failure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.fuzz.files_target import check_prices, check_settings
from tests.fuzz.inputs import CONTROL_BYTES, Input, read_input
from tests.fuzz.order_target import check_order
from tests.fuzz.request_target import check_request
from tests.fuzz.response_target import check_response
from tests.fuzz.shape_target import check_shape
from tests.fuzz.sim_target import check_sim
from tests.fuzz.splice_target import check_splice
from tests.fuzz.traces_target import check_traces
from tests.fuzz.usage_target import check_usage

HERE = Path(__file__).parent
SEEDS = HERE / "seeds"
#: Inputs that once failed, as hexadecimal text.
FAILURES = HERE / "failures"

TARGETS: dict[str, Callable[[Input], None]] = {
    "request": check_request,
    "response": check_response,
    "usage": check_usage,
    "traces": check_traces,
    "settings": check_settings,
    "prices": check_prices,
    "sim": check_sim,
    "splice": check_splice,
    "order": check_order,
    "shape": check_shape,
}


def run(target: str, data: bytes) -> None:
    """Check one input, control bytes included."""
    TARGETS[target](read_input(data))


def read_seed(path: Path) -> bytes:
    """Return a file as an input: hexadecimal text is one whole, anything else is a text without control bytes."""
    if path.suffix == ".hex":
        return bytes.fromhex(path.read_text(encoding="ascii"))
    return bytes(CONTROL_BYTES) + path.read_bytes()
