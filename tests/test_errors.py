"""The errors: whose fault each is, and how it reads."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp import errors
from scrimp.errors import InternalError, ScrimpError, UpstreamError, UsageError

ALL = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, ScrimpError)]


@pytest.mark.parametrize("kind", ALL)
def test_only_the_caller_s_fault_ends_with_2(kind: type[ScrimpError]) -> None:
    """Called wrongly is 2, everything else that we report is 1."""
    assert (2 if issubclass(kind, UsageError) else 1) == kind("What.").exit_code


@pytest.mark.parametrize("kind", ALL)
def test_each_error_is_somebody_s_fault(kind: type[ScrimpError]) -> None:
    """The caller's, the upstream's or ours: exactly one of them."""
    faults = [fault for fault in (UsageError, UpstreamError, InternalError) if issubclass(kind, fault)]
    assert (0 if kind is ScrimpError else 1) == len(faults)


@pytest.mark.parametrize("kind", ALL)
def test_the_tree_in_the_docstring_is_the_tree(kind: type[ScrimpError]) -> None:
    """Each class is drawn, and deeper than its base."""
    drawn = [line for line in (errors.__doc__ or "").splitlines() if kind.__name__ in line.split()]
    depth = len(kind.__mro__) - ScrimpError.__mro__.index(Exception) - len(Exception.__mro__)
    assert 1 == len(drawn)
    assert 4 * (depth + 1) == drawn[0].index(kind.__name__)


@given(st.text(min_size=1), st.text())
def test_an_error_keeps_what_and_what_next(message: str, hint: str) -> None:
    """Apart for programs, one line of both for people."""
    error = ScrimpError(message, hint)
    assert (message, hint) == (error.message, error.hint)
    assert f"{message} {hint}".rstrip() == str(error)
