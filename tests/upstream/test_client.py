"""The seam's one rule for headers: what belongs to a connection stays there, all else goes on as it came."""

from __future__ import annotations

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from scrimp.upstream.client import HOP_BY_HOP, RawHeaders, end_to_end

TOKENS = st.text("abcXYZ-0", min_size=1, max_size=6).map(str.encode)
NAMES = TOKENS | st.sampled_from(sorted(HOP_BY_HOP)) | st.sampled_from([b"Connection", b"Upgrade"])
PAIRS = st.lists(st.tuples(NAMES, TOKENS))


@given(PAIRS)
def test_what_stays_is_in_its_order_and_untouched(pairs: RawHeaders) -> None:
    """The outcome is the given pairs without those of this connection, by any case of their names."""
    listed = {value.lower() for name, value in pairs if name.lower() == b"connection"}
    assert [pair for pair in pairs if pair[0].lower() not in HOP_BY_HOP | listed] == end_to_end(iter(pairs))


def test_headers_that_connection_lists_are_dropped() -> None:
    """Connection names further headers of this hop, in any case and with any spacing."""
    pairs = [(b"Connection", b"close, X-Trace ,x-hop"), (b"X-TRACE", b"1"), (b"x-Hop", b"2"), (b"x-hops", b"3")]
    assert [(b"x-hops", b"3")] == end_to_end(pairs)


def test_more_can_be_dropped_by_name() -> None:
    """`without` drops by lower-case name, whatever the case on the wire."""
    assert [(b"A", b"1")] == end_to_end([(b"A", b"1"), (b"HOST", b"x")], without=frozenset({b"host"}))


def test_the_seam_costs_nothing_to_import() -> None:
    """Who only names the seam, as the demo does, does not import aiohttp."""
    program = "import sys, scrimp.upstream.client, scrimp.upstream.asgi; print('aiohttp' in sys.modules)"
    assert (
        "False\n" == subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    )
