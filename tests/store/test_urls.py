"""A URL is read strictly, shown without its password, and refused without a word of it where it falls apart."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrimp.errors import ConfigError
from scrimp.store.urls import is_postgres, read_postgres_url, scheme_of


@pytest.mark.parametrize(
    ("url", "scheme"),
    [
        ("ledger.db", ""),
        (Path("a/b.db"), ""),
        ("sqlite:///a.db", "sqlite"),
        ("PostgreSQL+psycopg://host/name", "postgresql"),
        ("postgres://host/name", "postgres"),
    ],
)
def test_the_scheme_is_the_database(url: str | Path, scheme: str) -> None:
    """The database's name in small letters, without a driver's; none for a path."""
    assert (scheme, scheme.startswith("postgres")) == (scheme_of(url), is_postgres(url))


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql://host/name", "postgresql://host/name"),
        ("postgres+psycopg://u:secret@host:5432/name", "postgresql://u@host:5432/name"),
        ("postgresql:///name", "postgresql:///name"),
        ("postgresql://", "postgresql://"),
        ("postgresql://u@[::1]:5432,other:5433/name", "postgresql://u@[::1]:5432,other:5433/name"),
        ("postgresql://u:secret@%2Frun%2Fpg/name", "postgresql://u@%2Frun%2Fpg/name"),
        (
            "postgresql:///name?host=/run/pg&user=u&password=secret&sslpassword=secret&options=-csearch_path%3Da",
            "postgresql:///name?host=/run/pg&user=u",
        ),
    ],
)
def test_the_name_has_no_password(url: str, name: str) -> None:
    """What tells one ledger from another is shown, and nothing else."""
    read = read_postgres_url(url)
    assert (name, False) == (read.name, "secret" in repr(read))


def test_the_driver_gets_all_of_it() -> None:
    """The connection string is the URL, with the scheme that libpq reads."""
    read = read_postgres_url("postgresql+psycopg://u:s%40@host/name?sslmode=require")
    assert "postgresql://u:s%40@host/name?sslmode=require" == read.conninfo


@pytest.mark.parametrize(
    "rest",
    [
        "u:hush@hush@host/name",
        "u:hu/hush@host/name",
        "u:hu?hush@host/name",
        "u:hu#hush@host/name",
        "u:hush%@host/name",
        "u:hush",
        "hush:hush:1@host:hush/name",
        "host/name?password=hush#hush",
        "u:hush@host/name@hush",
    ],
)
def test_what_falls_apart_is_refused_in_silence(rest: str) -> None:
    """A password that was not percent-encoded is not cut in two, and neither half of it is repeated."""
    with pytest.raises(ConfigError, match="Percent-encode") as caught:
        read_postgres_url(f"postgresql://{rest}")
    assert ("hush" in str(caught.value), caught.value.__cause__) == (False, None)


@given(st.text(min_size=6).filter(lambda text: text not in "postgresql://user@host/name"))
def test_no_password_is_ever_in_a_name(password: str) -> None:
    """Whatever a password holds, encoded it goes to the driver and not into the name."""
    encoded = quote(password.encode("utf-8", "replace"), safe="")
    read = read_postgres_url(f"postgresql://user:{encoded}@host/name")
    assert ("postgresql://user@host/name", True) == (read.name, encoded in read.conninfo)


def test_what_a_server_says_is_one_line_without_secrets() -> None:
    """Both forms of the password, and that of a parameter, are blanked; line breaks are gone."""
    read = read_postgres_url("postgresql://u:a%40b@host/name?sslpassword=%3Dkey")
    assert "*** *** *** *** end" == read.scrubbed("a@b\n  a%40b =key\t%3Dkey\nend\n")


@given(st.text())
def test_any_text_is_read_or_refused_in_the_same_words(text: str) -> None:
    """There is no third way, and a refusal repeats nothing of what it was given."""
    try:
        words = read_postgres_url(f"postgresql://{text}").name[:13]
    except ConfigError as error:
        words = str(error)
    with pytest.raises(ConfigError) as refused:
        read_postgres_url("postgresql://@@")
    assert words in {"postgresql://", str(refused.value)}
