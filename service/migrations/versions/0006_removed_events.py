"""events that were removed are still counted."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("events", sa.Column("removed", sa.Double()))


def downgrade() -> None:
    op.execute("DELETE FROM events WHERE removed IS NOT NULL")
    op.drop_column("events", "removed")
