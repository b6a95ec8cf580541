"""What a ledger's URL says, and how to name a ledger without giving away its password: pure text.

A password that was not percent-encoded falls apart at its `@`, `/`, `?` or `#`, and its pieces would turn up in
errors as a host or a port. So a PostgreSQL URL is taken apart here first, strictly, and one that does not fit is
refused without a word of it being repeated.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from scrimp.errors import ConfigError

#: The schemes of PostgreSQL; a driver's name after a plus sign, as SQLAlchemy writes it, is ignored.
POSTGRES_SCHEMES = frozenset({"postgres", "postgresql"})

#: The parameters of a URL that say which ledger it is; no other is ever shown.
SHOWN_PARAMETERS = frozenset({"dbname", "host", "hostaddr", "port", "user"})

#: What makes the value of a parameter a secret.
SECRET_WORDS = ("password", "secret")

_HOST = r"(?:\[[^\]@/?#]*\]|[^\[\]:@,/?#]*)(?::\d*)?"
_URL = re.compile(
    rf"(?P<user>[^:@/?#]*)(?::(?P<password>[^@/?#]*))?@(?P<hosts>{_HOST}(?:,{_HOST})*)(?P<path>/[^@?#]*)?(?:\?(?P<query>[^@#]*))?"
)
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def scheme_of(url: str | os.PathLike[str]) -> str:
    """Return the database that a URL names, in small letters; "" for a bare path."""
    scheme, colon, _ = os.fspath(url).partition("://")
    return scheme.partition("+")[0].lower() if colon else ""


def is_postgres(url: str | os.PathLike[str]) -> bool:
    """Return whether a URL names a ledger in PostgreSQL."""
    return scheme_of(url) in POSTGRES_SCHEMES


@dataclass(frozen=True, slots=True)
class PostgresUrl:
    """A PostgreSQL URL: `conninfo` for the driver only, `name` for people."""

    name: str
    conninfo: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)

    def scrubbed(self, text: str) -> str:
        """Return what a driver or a server said as one line without any secret of the URL."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return " ".join(text.split())


def _parameters(query: str) -> list[tuple[str, str, str]]:
    """Return each parameter's name, value and value as written."""
    pairs = [part.partition("=") for part in query.split("&")]
    return [(unquote(name), unquote(value), value) for name, _, value in pairs]


def _is_secret(name: str) -> bool:
    return any(word in name.lower() for word in SECRET_WORDS)


def read_postgres_url(url: str | os.PathLike[str]) -> PostgresUrl:
    """Take a PostgreSQL URL apart; one that is none raises `ConfigError`, which repeats nothing of it."""
    rest = os.fspath(url).partition("://")[2]
    anonymous = "@" not in rest
    found = _URL.fullmatch("@" * anonymous + rest)
    if found is None or _BAD_ESCAPE.search(rest):
        raise ConfigError(
            "The ledger's URL cannot be read as postgresql://USER:PASSWORD@HOST:PORT/NAME.",
            "Percent-encode what is special in a name or a password: @ is %40, / %2F, : %3A, ? %3F, # %23, % %25.",
        )
    user, password, hosts, path, query = (text or "" for text in found.groups())
    parameters = _parameters(query)
    shown = "&".join(f"{name}={value}" for name, _, value in parameters if name in SHOWN_PARAMETERS)
    hidden = {password, unquote(password)}
    hidden |= {form for name, value, raw in parameters if _is_secret(name) for form in (value, raw)}
    name = f"postgresql://{user}{'@' * bool(user)}{hosts}{path}{'?' * bool(shown)}{shown}"
    return PostgresUrl(name, f"postgresql://{rest}", tuple(sorted(hidden - {""}, key=len, reverse=True)))
