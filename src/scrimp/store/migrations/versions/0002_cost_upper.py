"""The other end of the interval: the most that an exchange can have cost, the cost itself where its usage is known."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; of what is not complete no bound is known any more."""
    op.add_column("exchanges", Column("cost_upper_nano_usd", BigInteger()))
    op.execute("UPDATE exchanges SET cost_upper_nano_usd = cost_nano_usd WHERE usage_complete")
