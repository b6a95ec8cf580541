"""The metrics page: what was counted, in a form that Prometheus reads, of bounded size."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.belief.exchange import Exchange
from scrimp.core.wire.usage import Usage
from scrimp.gateway import metrics
from scrimp.gateway.board import Board
from scrimp.gateway.metrics import OTHER, Metrics, SharedMetrics

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


@pytest.fixture
def board() -> Iterator[Board]:
    """Return a board for two workers."""
    with tempfile.TemporaryFile() as file:
        yield Board(file.fileno(), 2)


def _samples(shown: bytes) -> list[str]:
    return [line for line in shown.decode().splitlines() if not line.startswith("#")]


def test_each_worker_shows_the_sum_of_all(board: Board) -> None:
    """Counts of both add up on either page, in trouble is the whole if one of them is."""
    one, other = SharedMetrics(board, 0), SharedMetrics(board, 1)
    for each, model in ((one, "a"), (other, "a"), (other, "b")):
        each.opened()
        each.opened()
        each.closed(exchange(model, usage=Usage(1)))
    other.pin(ledger_trouble=True)
    shown = _samples(one.page(ledger_trouble=False))
    assert shown == _samples(other.page(ledger_trouble=True))
    assert 'scrimp_exchanges_total{model="a",ended="ok"} 2' in shown
    assert 'scrimp_exchanges_total{model="b",ended="ok"} 1' in shown
    assert 'scrimp_cost_usd_total{model="a"} 0.00000001' in shown
    assert ["scrimp_in_flight_exchanges 3", "scrimp_ledger_trouble 1"] == shown[-2:]


def test_a_worker_goes_on_where_its_predecessor_ended(board: Board) -> None:
    """No count goes down when a worker is replaced, and what it had under way is over."""
    dead = SharedMetrics(board, 0)
    dead.opened()
    dead.opened()
    dead.closed(exchange(usage=Usage(1)))
    dead.pin(ledger_trouble=True)
    shown = _samples(SharedMetrics(board, 0).page(ledger_trouble=False))
    assert 'scrimp_exchanges_total{model="m",ended="ok"} 1' in shown
    assert ["scrimp_in_flight_exchanges 0", "scrimp_ledger_trouble 0"] == shown[-2:]


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from("ab"), st.none() | st.integers(0, 9)), max_size=12))
def test_several_workers_count_as_one_would(closed: list[tuple[int, str, int | None]]) -> None:
    """However exchanges are dealt out, the page is the one of a single process."""
    with tempfile.TemporaryFile() as file:
        board = Board(file.fileno(), 3)
        alone, workers = Metrics(), [SharedMetrics(board, number) for number in range(3)]
        for number, model, cost in closed:
            for each in (alone, workers[number]):
                each.opened()
                each.closed(exchange(model, cost, Usage(1, 2)))
        for worker in workers:
            worker.pin(ledger_trouble=False)
        assert alone.page(ledger_trouble=False) == workers[0].page(ledger_trouble=False)
