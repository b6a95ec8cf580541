"""The chart: well formed, to scale, and readable without colours."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from scrimp.replay.chart import LEGEND, page, svg
from scrimp.replay.compare import Comparison, PolicySum, Task, compared, replayed
from scrimp.replay.policies import POLICIES
from scrimp.replay.regret import CAUSES
from scrimp.upstream.pricefeed import load_book
from tests.replay.courses import account, conversation

ALL = tuple(POLICIES)


class _Drawn(HTMLParser):
    """Keeps what a chart is made of: texts, rectangles, and tags that were opened and not closed."""

    def __init__(self, chart: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.rects: list[dict[str, str]] = []
        self.width = 0.0
        self.open: list[str] = []
        self.feed(chart)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open a tag."""
        self.open.append(tag)
        self.handle_shape(tag, {name: value or "" for name, value in attrs})

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take a tag without content."""
        self.handle_shape(tag, {name: value or "" for name, value in attrs})

    def handle_shape(self, tag: str, attributes: dict[str, str]) -> None:
        """Keep rectangles, and how wide the whole is."""
        if tag == "rect":
            self.rects.append(attributes)
        if tag == "svg":
            self.width = float(attributes["viewbox"].split()[2])

    def handle_endtag(self, tag: str) -> None:
        """Close the tag that was opened last."""
        assert tag == self.open.pop()

    def handle_data(self, data: str) -> None:
        """Keep texts."""
        if self.open and self.open[-1] == "text":
            self.texts.append(data)


def _comparison(pauses_ms: list[int]) -> Comparison:
    return compared([replayed(Task("a", conversation(pauses_ms), ALL, load_book()))], ALL)


def test_every_policy_has_a_bar_with_its_number() -> None:
    """Its name, its multiple of the optimum, its dollars."""
    comparison = _comparison([400_000, 10_000])
    texts = _Drawn(svg(comparison)).texts
    for name, policy in comparison.policies.items():
        assert name in texts
        assert any(f"{policy.regret:.3f}×" in text for text in texts)


def test_every_cause_that_costs_has_words() -> None:
    """All but what nobody can avoid."""
    assert {*CAUSES} - {"unavoidable"} == set(LEGEND)


@given(st.data())
def test_bars_stay_on_the_page(data: st.DataObject) -> None:
    """Whatever was replayed, nothing is drawn outside, and bars begin where the one before ends."""
    steps = account(lambda low, high: data.draw(st.integers(low, high)))
    drawn = _Drawn(svg(compared([replayed(Task("a", steps, ALL, load_book()))], ALL)))
    assert [] == drawn.open
    for rect in drawn.rects:
        left = float(rect.get("x", "0"))
        assert 0 <= left <= left + float(rect["width"]) <= drawn.width


def test_nothing_can_be_drawn_too() -> None:
    """A comparison without cost is an empty chart, no error."""
    empty = Comparison(0, 0, 0, 0, 0, {"<b>": PolicySum(0, None, {}, None)})
    assert "<b>" not in svg(empty)
    assert "&lt;b&gt;" in svg(empty)


def test_the_page_stands_alone() -> None:
    """No script, no address, and what the terminal shows as text."""
    html = page(_comparison([1_000]), "a < b")
    assert "a &lt; b" in html
    assert "<script" not in html
    assert "http" not in html.replace("http://www.w3.org/2000/svg", "")
