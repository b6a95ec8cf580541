"""The ledger's one table, in SQLAlchemy: the source of `schema.sql`, of the migrations and of every test of them.

Nothing here is particular to one database: both compile it to the same text, and a test holds them to that.
`python -m scrimp.store.schema > src/scrimp/store/schema.sql` writes the statements for a fresh ledger anew; a test
refuses a stale file.
"""

from __future__ import annotations

import sys

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Index, MetaData, String, Table, Text
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.schema import CreateIndex, CreateTable, DDLElement

#: Constraints have names, so that a migration can speak of them on either database.
NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "pk": "pk_%(table_name)s",
}

metadata = MetaData(naming_convention=NAMES)


def _text(name: str, *, known: bool = False) -> Column[str]:
    return Column(name, Text, nullable=not known)


def _count(name: str, *, known: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=not known)


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean(create_constraint=False), nullable=False)


exchanges = Table(
    "exchanges",
    metadata,
    Column("exchange_id", Text, primary_key=True, nullable=False),
    _count("opened_at_ms", known=True),
    _text("source", known=True),
    _text("origin", known=True),
    _text("payer"),
    _count("closed_at_ms"),
    _count("first_token_at_ms"),
    _text("principal"),
    _text("tenant"),
    _text("project"),
    _text("session_id"),
    _text("agent_id"),
    _text("parent_agent_id"),
    _text("agent_type"),
    _text("request_class"),
    _text("prompt_id"),
    _text("client"),
    _text("task_tag"),
    _text("task_type"),
    _text("requested_model"),
    _text("served_model"),
    _text("message_id"),
    _text("request_id"),
    _count("http_status"),
    _text("stop_reason"),
    _text("error_type"),
    _flag("usage_complete"),
    _flag("output_partial"),
    _count("cost_nano_usd"),
    _count("cost_upper_nano_usd"),
    _count("baseline_cost_nano_usd"),
    _flag("planned"),
    _text("break_cause"),
    _text("break_reason"),
    _text("break_block"),
    _count("break_byte"),
    _count("break_lost_tokens"),
    _count("break_cost_nano_usd"),
    _count("uncached_input_tokens"),
    _count("cache_read_input_tokens"),
    _count("cache_write_5m_input_tokens"),
    _count("cache_write_1h_input_tokens"),
    _count("output_tokens"),
    _count("thinking_tokens"),
    _count("web_search_requests"),
    _text("service_tier"),
    _text("speed"),
    _text("inference_geo"),
    _text("usage_lines"),
    _text("state", known=True),
    CheckConstraint("state IN ('open', 'closed')", name="state"),
)

#: What reports ask for: a span of time. Four more doubled what a commit costs, and every request waits for one;
#: grouping by session, task or model reads the whole span in any case.
INDEXES = (Index(None, exchanges.c.opened_at_ms),)

#: Alembic's own table, in a collection of its own so that comparing the schema leaves it out.
alembic_version = Table(
    "alembic_version", MetaData(), Column("version_num", String(32), primary_key=True, nullable=False)
)


def fresh_statements(dialect: Dialect) -> str:
    """Return the statements that make an empty ledger in one database's words, each ended by a semicolon."""
    indexes = (CreateIndex(index) for index in INDEXES)
    made: list[DDLElement] = [CreateTable(exchanges), *indexes, CreateTable(alembic_version)]
    texts = (str(each.compile(dialect=dialect)).strip().replace("\t", "    ") for each in made)
    return "".join(f"{text};\n" for text in texts).replace(" \n", "\n")


if __name__ == "__main__":
    sys.stdout.write(fresh_statements(sqlite.dialect()))
