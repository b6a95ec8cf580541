"""Tests of compiling the price book from genai-prices and the overrides."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from scrimp.core.wire.prices import ModelPrices, RateCard
from scrimp.core.wire.usage import Usage, UsageLine
from scrimp.errors import ConfigError
from scrimp.upstream.pricecompile import Overrides, compile_book, compile_from
from scrimp.upstream.pricefeed import PACKAGED, load_book, read_price_file

genai_prices = pytest.importorskip("genai_prices")


def price(scale: int = 1, **fields: Any) -> SimpleNamespace:
    """Return a price of genai-prices' shape."""
    names = ("input_mtok", "cache_read_mtok", "cache_write_mtok", "cache_write_1h_mtok", "output_mtok")
    rates = {name: Decimal(number) * scale for name, number in zip(names, "12345", strict=True)}
    return SimpleNamespace(**({"cache_write_5m_mtok": None} | rates | fields))


def info(prices: Any, *variants: Any) -> SimpleNamespace:
    """Return a model of genai-prices' shape."""
    return SimpleNamespace(prices=prices, price_variants=list(variants) or None)


def overrides(**models: Any) -> Overrides:
    """Return overrides of these models over the plainest settings."""
    raw = {
        "lanes": {"standard/standard": "standard"},
        "prefixes": {},
        "geographies": {"since_4_6": {"us": [11, 10]}},
        "models": models,
        "book": {
            "neutral_geographies": [""],
            "web_search_usd": 0.01,
            "long_prompt_scope": "line",
            "skip": ["claude-0"],
            "batch_factor": [1, 2],
        },
    }
    return msgspec.convert(raw, Overrides)


def compiled(infos: dict[str, Any], **models: Any) -> dict[str, ModelPrices]:
    """Compile and return the models by id."""
    return {each.model: each for each in compile_from(infos, overrides(**models), "test 1").book.models}


CARD = RateCard(1_000_000, 2_000_000, 3_000_000, 4_000_000, 5_000_000)


def test_the_packaged_book_is_not_stale() -> None:
    """prices.json is what genai-prices and the overrides compile to, with nothing left out."""
    result = compile_book()
    assert () == result.notes
    assert read_price_file(PACKAGED) == result.book


def test_each_price_says_where_it_can_be_read() -> None:
    """A source is a version of genai-prices or holds the address of a page of Anthropic's."""
    sources = {entry.source for prices in load_book().data.models for entry in prices.entries}
    named = re.compile(r"genai-prices \d+\.\d+\.\d+\b|Anthropic, .+\(https://[^)]+\)")
    assert [] == [source for source in sources if not named.match(source)]


def test_the_tool_refuses_a_stale_book(root: Path) -> None:
    """The developer's command says that the packaged book is up to date."""
    command = [sys.executable, str(root / "tools" / "compile_prices.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (0, "prices.json is up to date\n") == (done.returncode, done.stdout)


def _theirs(moment: datetime) -> Iterator[tuple[str, dict[str, str], Any]]:
    from genai_prices.data import providers

    anthropic = next(provider for provider in providers if provider.id == "anthropic")
    for model in anthropic.models:
        for context in ({}, {"processing": "batch"}, {"speed": "fast"}):
            if not context or any(variant.when == context for variant in model.price_variants or ()):
                yield model.id, context, model.get_prices(moment, context)


def test_genai_prices_agrees_wherever_it_knows() -> None:
    """Today every rate of ours, band by band, is genai-prices' own; batch and fast variants included."""
    moment = datetime(2026, 11, 22, tzinfo=UTC)
    book, seen = load_book(), 0
    for model, context, theirs in _theirs(moment):
        for length in (1, 100_000, 100_001, 150_000):
            tier = "batch" if "processing" in context else None
            line = UsageLine(Usage(length), model, service_tier=tier, speed=context.get("speed"))
            card = book.line_card(line, int(moment.timestamp() * 1000), length)
            if card is None:
                assert model in {"claude-2", "claude-v1"}
                continue
            names = ("input_mtok", "cache_read_mtok", "cache_write_mtok", "cache_write_1h_mtok", "output_mtok")
            expected = [_at(getattr(theirs, name), length) * 1_000_000 for name in names]
            assert expected == list(msgspec.structs.astuple(card)), (model, context, length)
            seen += 1
    assert seen > 100


def _at(rate: Any, length: int) -> Decimal:
    """Return a plain or tiered rate for a prompt's length, as genai-prices documents it."""
    higher = [tier.price for tier in getattr(rate, "tiers", ()) if length > tier.start]
    found: Decimal = higher[-1] if higher else getattr(rate, "base", rate)
    return found


def test_a_model_that_the_overrides_do_not_name_is_taken_as_it_stands() -> None:
    """A new model of genai-prices is priced, batch at half, under both spellings; what is to be skipped is."""
    models = compiled({"claude-nova-6": info(price()), "claude-0": info(price())})
    assert ["claude-nova-6"] == list(models)
    nova = models["claude-nova-6"]
    assert [("standard", CARD), ("batch", CARD.times((1, 2)))] == [(r.lane, r.rates) for r in nova.entries[0].rows]
    assert ("claude-6-nova",) == nova.aliases
    assert "test 1" == nova.entries[0].source
    assert {"us": (11, 10)} == nova.entries[0].geography


def test_periods_bands_and_fast_are_followed() -> None:
    """Dated prices become entries, tiers become bands of every class, and a fast variant becomes a lane."""
    tiered = SimpleNamespace(base=Decimal(1), tiers=[SimpleNamespace(start=7, price=Decimal(9))])
    later = SimpleNamespace(start_date=date(2026, 1, 2))
    prices = [
        SimpleNamespace(constraint=None, prices=price(input_mtok=tiered)),
        SimpleNamespace(constraint=later, prices=price(cache_write_5m_mtok=Decimal(8))),
    ]
    fast = SimpleNamespace(when={"speed": "fast"}, prices=price(2))
    first, second = compiled({"m": info(prices, fast)})["m"].entries
    assert (None, date(2026, 1, 2)) == (first.from_day, second.from_day)
    bands = {(row.lane, row.above_tokens): row.rates.uncached_input for row in first.rows}
    assert {("standard", 0): 1_000_000, ("standard", 7): 9_000_000} == {
        key: rate for key, rate in bands.items() if key[0] == "standard"
    }
    assert 4_500_000 == bands["batch", 7]
    assert 2_000_000 == bands["fast", 0]
    assert 8_000_000 == second.rows[0].rates.cache_write_5m


def test_overrides_rename_copy_date_change_and_drop() -> None:
    """Each form of override does what its comment says, and batch follows the changed standard card."""
    fast = SimpleNamespace(when={"speed": "fast"}, prices=price(2))
    entries = [
        {"source": "genai-prices: a", "change": {"cache_read": 0.5}},
        {"source": "b", "from": "2026-05-01", "drop": ["fast"]},
        {"source": "c", "from": "2026-06-01", "rows": [dict.fromkeys(RateCard.__struct_fields__, 6)]},
    ]
    models = compiled(
        {"there": info(price()), "dated": info(price(), fast)},
        here={"renames": "there", "aliases": ["alias"]},
        twin={"same_as": "there", "source": "said so"},
        dated={"entries": entries},
    )
    assert ["dated", "here", "twin"] == list(models)
    assert ("alias",) == models["here"].aliases
    assert (CARD, "said so") == (models["twin"].entries[0].rows[0].rates, models["twin"].entries[0].source)
    changed, dropped, anew = models["dated"].entries
    assert ["test 1: a", "b", "c"] == [entry.source for entry in models["dated"].entries]
    assert [500_000, 250_000] == [row.rates.cache_read for row in changed.rows if row.lane != "fast"]
    assert ["standard", "batch"] == [row.lane for row in dropped.rows]
    assert RateCard(*[6_000_000] * 5) == anew.rows[0].rates


@pytest.mark.parametrize(
    ("there", "why"),
    [
        (info(price(cache_write_1h_mtok=None)), "genai-prices has no cache_write_1h_mtok for it"),
        (
            info([SimpleNamespace(constraint=SimpleNamespace(start_time=1), prices=price())]),
            "genai-prices prices it by SimpleNamespace",
        ),
        (None, "test 1 has no m"),
    ],
)
def test_a_price_of_an_unknown_form_is_left_out_and_named(there: Any, why: str) -> None:
    """What we cannot follow has no price, never a guessed one; the rest of the book stands."""
    infos = {"other": info(price())} | ({} if there is None else {"m": there})
    result = compile_from(infos, overrides(m={}), "test 1")
    assert ["other"] == [each.model for each in result.book.models]
    assert (f"m is left out: {why}.",) == result.notes


def test_without_genai_prices_the_next_step_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The optional package missing is a setting to mend, not a crash."""
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    with pytest.raises(ConfigError, match="not installed") as caught:
        compile_book()
    assert "scrimp[prices]" in caught.value.hint


@pytest.mark.parametrize("text", ["[lanes", "", "[lanes]\n'standard/standard' = 'odd'\n"])
def test_bad_overrides_are_one_sentence(tmp_path: Path, text: str) -> None:
    """Torn, empty or mistyped overrides say so."""
    path = tmp_path / "overrides.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="cannot be used"):
        compile_book(path)
    with pytest.raises(ConfigError, match="cannot be used"):
        compile_book(tmp_path / "missing.toml")
