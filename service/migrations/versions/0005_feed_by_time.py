"""the feed by time, for the digest of a day."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_index("ix_feed_tenant_at", "feed", ["tenant", "at"])


def downgrade() -> None:
    op.drop_index("ix_feed_tenant_at", "feed")
