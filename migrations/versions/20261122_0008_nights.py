"""nights: the runs of the learning job and their steps; what an experiment is for and what it came to

Revision: 0008, after 0007
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_NOW = sa.text("now()")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "nightly_runs",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("night", sa.Date(), nullable=True),
        sa.Column("state", sa.String(16), server_default="running", nullable=False),
        sa.Column("outcome", sa.String(16), nullable=True),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("dry_run", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("item_heads", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("actor", sa.String(120), server_default="", nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("window_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("window_to", sa.DateTime(timezone=True), nullable=False),
        sa.Column("production_id", sa.BigInteger(), nullable=True),
        sa.Column("generation_id", sa.BigInteger(), nullable=True),
        sa.Column("options", JSONB(), server_default="{}", nullable=False),
        sa.Column("report", JSONB(), server_default="{}", nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_nightly_runs"),
    )
    unique = {"unique": True}
    op.create_index(
        "uq_nightly_runs_night", "nightly_runs", ["night"], postgresql_where=sa.text("night IS NOT NULL"), **unique
    )
    op.create_index(
        "uq_nightly_runs_one_runs", "nightly_runs", ["state"], postgresql_where=sa.text("state = 'running'"), **unique
    )
    op.create_table(
        "nightly_steps",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("place", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.String(16), server_default="pending", nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("progress", JSONB(), server_default="{}", nullable=False),
        sa.Column("result", JSONB(), server_default="{}", nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["run_id"], ["nightly_runs.id"], name="fk_nightly_steps_run_id_nightly_runs", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "name", name="pk_nightly_steps"),
    )
    op.add_column("experiments", sa.Column("purpose", sa.String(16), server_default="", nullable=False))
    op.add_column("experiments", sa.Column("results", JSONB(), server_default="{}", nullable=False))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_column("experiments", "results")
    op.drop_column("experiments", "purpose")
    op.drop_table("nightly_steps")
    op.drop_table("nightly_runs")
