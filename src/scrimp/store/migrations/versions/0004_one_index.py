"""Only the index by time stays: no report looks for a session, task or model, and every commit paid for the others."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Drop the four others, where an owner has not dropped them already."""
    for name in ("session_id", "task_tag", "task_type", "served_model"):
        op.drop_index(op.f(f"ix_exchanges_{name}"), "exchanges", if_exists=True)
