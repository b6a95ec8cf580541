"""The metrics page: what was counted, in a form that Prometheus reads, of bounded size."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.usage import Usage
from scrimp.gateway import metrics
from scrimp.gateway.metrics import OTHER, Metrics

LINE = re.compile(r'[a-z_]+(?:\{(?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)+\})? -?[0-9.]+')


def exchange(model: str = "m", cost: int | None = 5, usage: Usage | None = None, error: str | None = None) -> Exchange:
    """Return a closed exchange."""
    return Exchange(
        exchange_id="x",
        opened_at_ms=1,
        source="gateway",
        served_model=model,
        usage=usage,
        cost_nano_usd=cost,
        error_type=error,
    )


def page(*closed: Exchange, trouble: bool = False) -> list[str]:
    """Return the page's samples after these exchanges."""
    counted = Metrics()
    for each in closed:
        counted.opened()
        counted.closed(each)
    counted.opened()
    lines = counted.page(ledger_trouble=trouble).decode().splitlines()
    return [line for line in lines if not line.startswith("#")]


def test_everything_is_counted_by_model() -> None:
    """Tokens by class, exact dollars, how exchanges ended, and what is under way."""
    shown = page(
        exchange(usage=Usage(1, 2, 3, 4, 5), cost=1_234_567_891),
        exchange(usage=Usage(1), cost=None),
        exchange(error="client_gone"),
    )

    assert 'scrimp_tokens_total{model="m",class="uncached_input_tokens"} 2' in shown
    assert 'scrimp_tokens_total{model="m",class="cache_write_1h_input_tokens"} 4' in shown
    assert 'scrimp_cost_usd_total{model="m"} 1.234567891' in shown
    assert 'scrimp_unpriced_exchanges_total{model="m"} 1' in shown
    assert 'scrimp_exchanges_total{model="m",ended="ok"} 2' in shown
    assert 'scrimp_exchanges_total{model="m",ended="client_gone"} 1' in shown
    assert "scrimp_in_flight_exchanges 1" in shown
    assert "scrimp_ledger_trouble 0" in shown
    assert "scrimp_ledger_trouble 1" in page(trouble=True)


@given(st.text(max_size=20))
def test_no_model_name_breaks_the_page(model: str) -> None:
    """Names come from clients; quotes, backslashes and line ends are escaped."""
    text = Metrics()
    text.closed(exchange(model, usage=Usage(1)))
    samples = [
        line for line in text.page(ledger_trouble=False).decode().split("\n") if line and not line.startswith("#")
    ]

    assert [] == [line for line in samples if not LINE.fullmatch(line)]


def test_the_page_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the limit a new model is counted as other."""
    monkeypatch.setattr(metrics, "MODELS_MAX", 2)
    shown = page(*(exchange(f"m{index}") for index in range(5)))

    assert f'scrimp_exchanges_total{{model="{OTHER}",ended="ok"}} 3' in shown
