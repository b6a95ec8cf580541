"""The first ledger: one row per exchange."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, PrimaryKeyConstraint, Text

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table and its indexes."""
    op.create_table(
        "exchanges",
        Column("exchange_id", Text(), nullable=False),
        Column("opened_at_ms", BigInteger(), nullable=False),
        Column("source", Text(), nullable=False),
        Column("origin", Text(), nullable=False),
        Column("payer", Text()),
        Column("closed_at_ms", BigInteger()),
        Column("first_token_at_ms", BigInteger()),
        Column("principal", Text()),
        Column("tenant", Text()),
        Column("project", Text()),
        Column("session_id", Text()),
        Column("agent_id", Text()),
        Column("parent_agent_id", Text()),
        Column("agent_type", Text()),
        Column("request_class", Text()),
        Column("prompt_id", Text()),
        Column("client", Text()),
        Column("task_tag", Text()),
        Column("task_type", Text()),
        Column("requested_model", Text()),
        Column("served_model", Text()),
        Column("message_id", Text()),
        Column("request_id", Text()),
        Column("http_status", BigInteger()),
        Column("stop_reason", Text()),
        Column("error_type", Text()),
        Column("usage_complete", Boolean(), nullable=False),
        Column("output_partial", Boolean(), nullable=False),
        Column("cost_nano_usd", BigInteger()),
        Column("baseline_cost_nano_usd", BigInteger()),
        Column("planned", Boolean(), nullable=False),
        Column("uncached_input_tokens", BigInteger()),
        Column("cache_read_input_tokens", BigInteger()),
        Column("cache_write_5m_input_tokens", BigInteger()),
        Column("cache_write_1h_input_tokens", BigInteger()),
        Column("output_tokens", BigInteger()),
        Column("thinking_tokens", BigInteger()),
        Column("web_search_requests", BigInteger()),
        Column("service_tier", Text()),
        Column("speed", Text()),
        Column("inference_geo", Text()),
        Column("usage_lines", Text()),
        Column("state", Text(), nullable=False),
        PrimaryKeyConstraint("exchange_id", name=op.f("pk_exchanges")),
        CheckConstraint("state IN ('open', 'closed')", name=op.f("ck_exchanges_state")),
    )
    for name in ("opened_at_ms", "session_id", "task_tag", "task_type", "served_model"):
        op.create_index(op.f(f"ix_exchanges_{name}"), "exchanges", [name])
