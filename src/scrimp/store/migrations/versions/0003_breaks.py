"""Why an exchange read less from the cache than it could have, and what that cost: names and numbers, no text."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, Text

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; of what was recorded before nobody knows it any more."""
    for name in ("break_cause", "break_reason", "break_block"):
        op.add_column("exchanges", Column(name, Text()))
    for name in ("break_byte", "break_lost_tokens", "break_cost_nano_usd"):
        op.add_column("exchanges", Column(name, BigInteger()))
