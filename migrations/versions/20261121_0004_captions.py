"""generated captions

Revision: 0004, after 0003
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "captioners",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("model", sa.String(400), nullable=False),
        sa.Column("prompts", postgresql.JSONB, nullable=False),
        sa.Column("pictures", sa.Integer, nullable=False),
        sa.Column("current", sa.Boolean, server_default="false", nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True)),
        sa.Column("paused_until", sa.DateTime(timezone=True)),
        sa.Column("reason", sa.Text),
        sa.Column("failures", sa.Integer, server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_captioners"),
    )
    op.create_index("uq_captioners_current", "captioners", ["current"], unique=True, postgresql_where="current")
    op.create_table(
        "generated_captions",
        sa.Column("captioner_id", sa.String(32), nullable=False),
        sa.Column("content_hash", sa.String(64), nullable=False),
        sa.Column("state", sa.String(8), server_default="pending", nullable=False),
        sa.Column("text", sa.Text),
        sa.Column("text_hash", sa.String(64)),
        sa.Column("turns", postgresql.JSONB, server_default="[]", nullable=False),
        sa.Column("attempts", sa.SmallInteger, server_default="0", nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("written_at", sa.DateTime(timezone=True)),
        sa.ForeignKeyConstraint(
            ["captioner_id"], ["captioners.id"], name="fk_generated_captions_captioner_id_captioners"
        ),
        sa.PrimaryKeyConstraint("captioner_id", "content_hash", name="pk_generated_captions"),
    )
    op.create_index("ix_generated_captions_content_hash", "generated_captions", ["content_hash"])
    op.create_index(
        "ix_generated_captions_due",
        "generated_captions",
        ["captioner_id", "created_at"],
        postgresql_where="state = 'pending'",
    )
    op.create_table(
        "caption_marks",
        sa.Column("product", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("plan", sa.String(48), nullable=False),
        sa.ForeignKeyConstraint(
            ["product"], ["products.number"], name="fk_caption_marks_product_products", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("product", name="pk_caption_marks"),
    )
    op.create_table(
        "caption_requests",
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("requests", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("day", name="pk_caption_requests"),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("caption_requests")
    op.drop_table("caption_marks")
    op.drop_table("generated_captions")
    op.drop_table("captioners")
