"""Events are all there is: each one names its exchange and its time, so that any log of them can be folded again."""

from __future__ import annotations

from typing import get_args

import msgspec

from scrimp.core.belief.events import Event


def test_every_event_names_its_exchange_and_its_time() -> None:
    """Without both, a fold could neither find nor order what happened."""
    for event in get_args(Event):
        assert {"exchange_id", "at_ms"} <= {field.name for field in msgspec.structs.fields(event)}
