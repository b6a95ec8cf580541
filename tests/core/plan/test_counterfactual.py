"""Properties of the bill that nobody sees: what an exchange would have cost without us."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scrimp.core.belief.cache import Split
from scrimp.core.plan.counterfactual import lines_alone, stretched
from scrimp.core.wire.usage import Usage, UsageLine

counts = st.integers(0, 10**6)
inputs = st.builds(Usage, counts, counts, counts, counts)
bills = st.builds(Usage, counts, counts, counts, counts, counts)


@given(inputs, bills)
def test_the_prompt_keeps_its_length_and_the_answer_its_tokens(expected: Usage, billed: Usage) -> None:
    """However a bill is divided anew, its total input and its output stay what they were, and no class is negative."""
    found = stretched(expected, billed)
    assert (billed.total_input_tokens, billed.output_tokens) == (found.total_input_tokens, found.output_tokens)
    assert all(count >= 0 for count in found.billed)


@given(inputs, st.integers(0, 10**6))
def test_an_exact_expectation_is_taken_as_it_is(expected: Usage, output: int) -> None:
    """A bill as long as it was expected to be is divided exactly as expected."""
    billed = Usage(uncached_input_tokens=expected.total_input_tokens, output_tokens=output)
    assert expected.billed[:4] == stretched(expected, billed).billed[:4]


@given(st.lists(st.builds(UsageLine, bills, st.just("m")), max_size=3), inputs)
def test_nothing_changed_means_the_same_bill(lines: list[UsageLine], usage: Usage) -> None:
    """Where both splits agree, the lines are the billed ones."""
    split = Split(None, (), usage)
    assert tuple(lines) == lines_alone(lines, split, split)


@given(st.builds(UsageLine, bills, st.just("m")), inputs)
def test_what_was_waited_for_would_have_been_paid_alone(line: UsageLine, usage: Usage) -> None:
    """Where a request that waited read more than was expected, its bill alone is what was expected; else its own."""
    split, alone = Split(None, (), usage), stretched(usage, line.usage)
    more = line.usage.cache_read_input_tokens - alone.cache_read_input_tokens
    (found,) = lines_alone([line], split, split, waited=True)
    assert (alone if more > 1_000 else line.usage) == found.usage


def test_only_the_executor_s_first_line_is_divided_anew() -> None:
    """What is billed on top, as a compaction, has a prompt of its own that we did not plan."""
    lines = [UsageLine(Usage(5), "m", kind="compaction"), UsageLine(Usage(100), "m", kind="message")]
    sent, own = Split(None, (), Usage(100)), Split(0, (), Usage(40, 60))
    assert (lines[0], UsageLine(Usage(40, 60), "m", kind="message")) == lines_alone(lines, sent, own)
