"""Mooncake's traces: blocks become shared prefixes, and lines that are none are named."""

from __future__ import annotations

import json

from scrimp.replay.mooncake import BLOCK_TOKENS, read_steps, sniff
from scrimp.replay.steps import ROOT


def _trace(*lines: tuple[int, int, list[int]]) -> bytes:
    keys = ("timestamp", "input_length", "output_length", "hash_ids")
    return "\n".join(
        json.dumps(dict(zip(keys, (at, length, 5, ids), strict=True))) for at, length, ids in lines
    ).encode()


def test_a_turn_goes_on_from_the_whole_blocks_of_the_one_before() -> None:
    """The last block of a prompt is not full, so the next turn shares the ones before it."""
    steps, _ = read_steps("t", _trace((0, 2 * 512 + 100, [1, 2, 3]), (9, 4 * 512, [1, 2, 4, 5])))
    assert (0, 2 * BLOCK_TOKENS, "request-0") == (steps[1].parent, steps[1].shared_tokens, steps[1].session_id)
    assert steps[1].shared_tokens == steps[0].end_tokens


def test_prompts_that_part_in_the_middle_share_a_base() -> None:
    """A system prompt that another chat begins with is a base from then on, and another session."""
    lines = ((0, 4 * 512, [1, 2, 3, 4]), (1, 4 * 512, [1, 2, 5, 6]), (2, 4 * 512, [1, 2, 7, 8]))
    steps, _ = read_steps("t", _trace(*lines))
    assert [0, 1_024, 1_024] == [each.base_tokens for each in steps]
    assert [ROOT, 0, 1] == [each.parent for each in steps]
    assert 3 == len({each.session_id for each in steps})


def test_steps_come_in_order_of_time_and_offer_no_tools() -> None:
    """Whatever the order of the lines."""
    steps, _ = read_steps("t", _trace((5, 600, [1, 2]), (1, 600, [3, 4])))
    assert [1, 5] == [each.at_ms for each in steps]
    assert not any(each.has_tools for each in steps)


def test_lines_that_are_no_request_are_counted() -> None:
    """They are one problem with the first line's number; the rest is used."""
    steps, problems = read_steps("t", b"{}\n\nnonsense\n" + _trace((0, 600, [1, 2])))
    assert 1 == len(steps)
    assert ["t line 1: this line is no request (and 1 more like it); it is left out."] == [*map(str, problems)]


def test_a_trace_is_told_from_sessions() -> None:
    """By its first line."""
    assert sniff(_trace((0, 600, [1, 2])))
    assert not sniff(b'{"type":"user"}\n' + _trace((0, 600, [1, 2])))
    assert not sniff(b"")
