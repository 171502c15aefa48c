"""private hosts that one archive may lie on, beside those every archive may."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("archives", sa.Column("allow_hosts", sa.Text(), server_default="", nullable=False))


def downgrade() -> None:
    op.drop_column("archives", "allow_hosts")
