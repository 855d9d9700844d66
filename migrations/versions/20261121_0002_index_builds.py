"""index builds that are switched to

Revision: 0002, after 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("encoders", sa.Column("source", sa.String(length=1000), nullable=True))
    op.add_column("encoders", sa.Column("drawings_only", sa.Boolean(), server_default="false", nullable=False))
    op.execute("UPDATE encoders SET drawings_only = true WHERE name = 'demo'")

    op.alter_column("index_builds", "encoder_id", nullable=True)
    for column in (
        sa.Column("source", sa.String(length=1000), nullable=True),
        sa.Column("step", sa.String(length=16), server_default="done", nullable=False),
        sa.Column("promote", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("actor", sa.String(length=120), server_default="", nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("report", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("ready_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("emptied_at", sa.DateTime(timezone=True), nullable=True),
    ):
        op.add_column("index_builds", column)
    op.execute("UPDATE index_builds SET ready_at = created_at WHERE state = 'ready'")

    op.add_column("generations", sa.Column("replaced", sa.BigInteger(), nullable=True))
    op.add_column("generations", sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True))
    op.create_foreign_key(
        op.f("fk_generations_replaced_generations"), "generations", "generations", ["replaced"], ["id"]
    )
    op.execute("UPDATE generations SET retired_at = now() WHERE state = 'retired'")

    op.create_table(
        "refusals",
        sa.Column("encoder_id", sa.String(length=80), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("refused_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["encoder_id"], ["encoders.id"], name=op.f("fk_refusals_encoder_id_encoders")),
        sa.PrimaryKeyConstraint("encoder_id", "kind", "subject", name=op.f("pk_refusals")),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("refusals")
    op.drop_constraint(op.f("fk_generations_replaced_generations"), "generations", type_="foreignkey")
    op.drop_column("generations", "retired_at")
    op.drop_column("generations", "replaced")
    for name in ("emptied_at", "ready_at", "report", "error", "actor", "promote", "step", "source"):
        op.drop_column("index_builds", name)
    # what was asked for and never opened has no encoder, and nothing refers to it
    op.execute("DELETE FROM index_builds WHERE encoder_id IS NULL")
    op.alter_column("index_builds", "encoder_id", nullable=False)
    op.drop_column("encoders", "drawings_only")
    op.drop_column("encoders", "source")
