"""The errors Scrimp raises, told apart by whose fault they are.

::

    ScrimpError
    ├── UsageError            the caller's fault: called wrongly; exit code 2
    │   ├── ConfigError       a setting that cannot be used
    │   └── TraceFormatError  a path that holds nothing we can read
    ├── UpstreamError         the API's or the network's fault
    │   └── UpstreamUnavailable   nothing answered at the upstream address
    │       └── UpstreamUnreachable   there was not even a connection to it
    └── InternalError         ours
        └── LedgerError       the ledger cannot be opened, written or read

Each message is one sentence that says what happened, followed by what to do next.
"""

from __future__ import annotations


class ScrimpError(Exception):
    """Anything Scrimp reports to a person: `message` says what, `hint` says what next."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class UsageError(ScrimpError):
    """Called wrongly: the arguments, a setting or a file cannot be used as given."""

    exit_code = 2


class ConfigError(UsageError):
    """A setting that cannot be used."""


class TraceFormatError(UsageError):
    """A path holds nothing that we can read as recorded sessions."""


class UpstreamError(ScrimpError):
    """The API or the network failed us."""


class UpstreamUnavailable(UpstreamError):
    """Nothing answered at the upstream address."""


class UpstreamUnreachable(UpstreamUnavailable):
    """No connection to the upstream address came about, so nothing of the request was sent."""


class InternalError(ScrimpError):
    """Our own fault."""


class LedgerError(InternalError):
    """The ledger cannot be opened, written or read."""
