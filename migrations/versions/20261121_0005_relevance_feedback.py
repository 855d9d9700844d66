"""relevance feedback: summarizers, refine policies, sessions, events

Revision: 0005, after 0004
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "summarizers",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("encoder_id", sa.String(80), nullable=False),
        sa.Column("weights_hash", sa.String(64), nullable=False),
        sa.Column("weights", sa.LargeBinary, nullable=False),
        sa.Column("report", postgresql.JSONB, server_default="{}", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.ForeignKeyConstraint(["encoder_id"], ["encoders.id"], name="fk_summarizers_encoder_id_encoders"),
        sa.PrimaryKeyConstraint("id", name="pk_summarizers"),
        sa.UniqueConstraint("encoder_id", "weights_hash", name="uq_summarizers_encoder_id_weights_hash"),
    )
    op.add_column("generations", sa.Column("summarizer_id", sa.BigInteger))
    op.add_column("generations", sa.Column("feedback", postgresql.JSONB, server_default="{}", nullable=False))
    op.create_foreign_key(
        "fk_generations_summarizer_id_summarizers", "generations", "summarizers", ["summarizer_id"], ["id"]
    )
    op.create_table(
        "refine_policies",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("config", postgresql.JSONB, nullable=False),
        sa.Column("actor", sa.String(120), server_default="", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_refine_policies"),
    )
    op.add_column("served_lists", sa.Column("root_id", sa.String(32)))
    op.add_column("served_lists", sa.Column("refinement", postgresql.JSONB))
    op.create_index("ix_served_lists_root_id", "served_lists", ["root_id"], postgresql_where="root_id IS NOT NULL")
    op.create_table(
        "event_ids",
        sa.Column("message_id", sa.String(100), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("message_id", name="pk_event_ids"),
    )
    op.create_index("ix_event_ids_received_at", "event_ids", ["received_at"])
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("message_id", sa.String(100), nullable=False),
        sa.Column("type", sa.String(24), nullable=False),
        sa.Column("query_id", sa.String(32)),
        sa.Column("product_id", sa.String(256)),
        sa.Column("shopper_id", sa.String(100)),
        sa.Column("session_id", sa.String(100)),
        sa.Column("value", sa.Float),
        sa.Column("dwell_ms", sa.Integer),
        sa.Column("image", sa.SmallInteger),
        sa.Column("box", postgresql.ARRAY(sa.Float)),
        sa.Column("source", sa.String(8), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
    )
    op.create_index("ix_events_query_id", "events", ["query_id"])
    op.create_index("ix_events_received_at", "events", ["received_at"])


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("events")
    op.drop_table("event_ids")
    op.drop_index("ix_served_lists_root_id", "served_lists")
    op.drop_column("served_lists", "refinement")
    op.drop_column("served_lists", "root_id")
    op.drop_table("refine_policies")
    op.drop_constraint("fk_generations_summarizer_id_summarizers", "generations", type_="foreignkey")
    op.drop_column("generations", "feedback")
    op.drop_column("generations", "summarizer_id")
    op.drop_table("summarizers")
