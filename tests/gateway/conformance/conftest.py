"""Gateways with a fault, examined: which items fail."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from scrimp.config import Settings
from scrimp.gateway.build import build
from scrimp.gateway.conformance.item import Item
from scrimp.gateway.conformance.recorder import Recorder
from scrimp.gateway.conformance.report import Report, report
from scrimp.gateway.server import serving
from tests.gateway.conformance.faults import BareProxy, Fault

#: How long a gateway may take where all is well; no test waits for it then.
PATIENCE_SECONDS = 30
#: How long a gateway is waited for that is known to hold something back.
SHORT_PATIENCE_SECONDS = 4

#: Makes a gateway with a fault before a recorder; yields its address.
Gateway = Callable[[Fault, Recorder], AbstractContextManager[str]]
Examine = Callable[..., Report]


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    """Return how to run our gateway with a fault."""

    def made(fault: Fault, recorder: Recorder) -> AbstractContextManager[str]:
        settings = Settings(upstream=recorder.url, db=str(tmp_path / "ledger.db"), trust_env=False)
        return serving(fault(build(settings)))

    return made


@pytest.fixture
def examine(gateway: Gateway) -> Examine:
    """Return how to examine our gateway with a fault, or a bare proxy with options; `items` are all unless given."""

    def examined(
        fault: Fault | dict[str, Any], items: Collection[Item] = (), patience_s: float = PATIENCE_SECONDS
    ) -> Report:
        with Recorder() as recorder:
            bare = BareProxy(recorder.url, **fault).serving() if isinstance(fault, dict) else None
            with bare or gateway(fault, recorder) as url:  # type: ignore[arg-type]
                return report(url, recorder, only=[item.name for item in items], patience_s=patience_s)

    return examined
