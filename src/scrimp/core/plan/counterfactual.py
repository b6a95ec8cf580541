"""What an exchange would have cost without us: its real length, billed by the split that the client's own marks expect.

Nobody sees that bill, so it is a prediction, and stands beside the real one as such. Where nothing was changed, now or
in any earlier request that this one builds on, both splits are the same and so is the cost, to the nano-dollar. The one
exception is a request that waited for another one's first token: it may read what nobody knew to be there yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import msgspec

from scrimp.core.belief.cache import Split
from scrimp.core.wire.usage import BILLED_ON_TOP, Usage, UsageLine

#: Reads beyond the expected ones by no more than this are an estimate's error.
_NEGLIGIBLE_TOKENS = 1_000


def lines_alone(lines: Sequence[UsageLine], sent: Split, own: Split, *, waited: bool = False) -> tuple[UsageLine, ...]:
    """Return the billing lines with the first one of the executor split as `own` expects instead of as `sent` does.

    One that `waited` and read more than expected read what it waited for, even where both splits are the same.
    """
    first = next((i for i, line in enumerate(lines) if line.kind not in BILLED_ON_TOP), None)
    if first is None or (sent.usage == own.usage and not (waited and _read_more(lines[first].usage, own.usage))):
        return tuple(lines)
    return tuple(
        msgspec.structs.replace(line, usage=stretched(own.usage, line.usage)) if i == first else line
        for i, line in enumerate(lines)
    )


def _read_more(billed: Usage, expected: Usage) -> bool:
    unexpected = billed.cache_read_input_tokens - stretched(expected, billed).cache_read_input_tokens
    return unexpected > _NEGLIGIBLE_TOKENS


def stretched(expected: Usage, billed: Usage) -> Usage:
    """Return `billed` with its input divided in the proportions of `expected`; the classes add up to the same length.

    Classes lie one behind the other in the prompt: read, written for an hour, for five minutes, plain.
    """
    length, total = billed.total_input_tokens, expected.total_input_tokens
    if not total:
        return billed
    parts = (
        expected.cache_read_input_tokens,
        expected.cache_write_1h_input_tokens,
        expected.cache_write_5m_input_tokens,
    )
    read, hour, minutes = (round(upto * length / total) for upto in accumulate(parts))
    return msgspec.structs.replace(
        billed,
        cache_read_input_tokens=read,
        cache_write_1h_input_tokens=hour - read,
        cache_write_5m_input_tokens=minutes - hour,
        uncached_input_tokens=length - minutes,
    )
