"""which reports ever were current; promotions of reprocess jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("reports", sa.Column("current_since", sa.Double(), nullable=True))
    op.execute(
        "UPDATE reports SET current_since = created "
        "WHERE job NOT IN (SELECT id FROM jobs WHERE type = 'reprocess')"
    )
    op.add_column("jobs", sa.Column("promoted", sa.Double(), nullable=True))
    counter = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "promotions",
        sa.Column("id", counter, autoincrement=True, nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("forced", sa.Boolean(), nullable=False),
        sa.Column("counts", sa.Text(), nullable=False),
        sa.Column("undone", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name=op.f("fk_promotions_job")),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.id"], name=op.f("fk_promotions_tenant")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_promotions")),
    )
    op.create_index("ix_promotions_job", "promotions", ["job", "id"])
    op.create_table(
        "promoted_sites",
        sa.Column("promotion", sa.BigInteger(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("report", sa.Text(), nullable=False),
        sa.Column("previous", sa.Text(), nullable=True),
        sa.Column("parameters_before", sa.Text(), nullable=False),
        sa.Column("parameters_after", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["site"], ["sites.id"], name=op.f("fk_promoted_sites_site")),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.id"], name=op.f("fk_promoted_sites_tenant")),
        sa.PrimaryKeyConstraint("promotion", "site", name=op.f("pk_promoted_sites")),
    )
