"""first tables

Revision: 0001, after
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")

    op.create_table(
        "api_keys",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("scope", sa.String(length=16), nullable=False),
        sa.Column("prefix", sa.String(length=16), nullable=False),
        sa.Column("secret_hash", sa.String(length=64), nullable=False),
        sa.Column("origins", sa.ARRAY(sa.String()), server_default="{}", nullable=False),
        sa.Column("rate_limit_per_minute", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_api_keys_secret_hash")),
    )
    op.create_table(
        "audit_entries",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("actor", sa.String(length=120), nullable=False),
        sa.Column("action", sa.String(length=80), nullable=False),
        sa.Column("subject", sa.String(length=300), nullable=False),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_entries")),
    )
    op.create_table(
        "encoders",
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("name", sa.String(length=400), nullable=False),
        sa.Column("weights_hash", sa.String(length=64), nullable=False),
        sa.Column("dim", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_encoders")),
    )
    op.create_table(
        "feature_tokens",
        sa.Column("encoder_id", sa.String(length=80), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("form", sa.String(length=8), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("scales", sa.LargeBinary(), nullable=True),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("encoder_id", "kind", "subject", name=op.f("pk_feature_tokens")),
    )
    op.create_table(
        "features",
        sa.Column("encoder_id", sa.String(length=80), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("encoder_id", "kind", "subject", name=op.f("pk_features")),
    )
    op.create_table(
        "image_files",
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("format", sa.String(length=8), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("content_hash", name=op.f("pk_image_files")),
    )
    op.create_table(
        "import_runs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("format", sa.String(length=16), nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("counts", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("rejected", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_import_runs")),
    )
    op.create_table(
        "products",
        sa.Column("number", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("id", sa.String(length=256), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("brand", sa.String(length=256), nullable=True),
        sa.Column("category", sa.ARRAY(sa.String()), server_default="{}", nullable=False),
        sa.Column("price", sa.Numeric(precision=14, scale=4), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=True),
        sa.Column("availability", sa.String(length=16), server_default="in_stock", nullable=False),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("attributes", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("revision", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tags", sa.ARRAY(sa.BigInteger()), server_default="{}", nullable=False),
        sa.Column("words", sa.Text(), server_default="", nullable=False),
        sa.Column(
            "lexemes",
            postgresql.TSVECTOR(),
            sa.Computed("to_tsvector('english', words)", persisted=True),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_products")),
        sa.UniqueConstraint("id", name=op.f("uq_products_id")),
    )
    op.create_index("ix_products_attributes", "products", ["attributes"], unique=False, postgresql_using="gin")
    op.create_index("ix_products_brand", "products", ["brand"], unique=False)
    op.create_index("ix_products_category", "products", ["category"], unique=False, postgresql_using="gin")
    op.create_index("ix_products_lexemes", "products", ["lexemes"], unique=False, postgresql_using="gin")
    op.create_index("ix_products_newest", "products", ["created_at", "number"], unique=False)
    op.create_index("ix_products_price", "products", ["price"], unique=False)
    op.create_index("ix_products_tags", "products", ["tags"], unique=False, postgresql_using="gin")
    op.create_table(
        "unit_keys",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_unit_keys")),
    )
    op.create_table(
        "served_lists",
        sa.Column("query_id", sa.String(length=32), nullable=False),
        sa.Column("parent_id", sa.String(length=32), nullable=True),
        sa.Column("turn", sa.SmallInteger(), server_default="1", nullable=False),
        sa.Column("generation_id", sa.BigInteger(), nullable=False),
        sa.Column("experiments", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("request", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("total_is", sa.String(length=8), nullable=False),
        sa.Column("shopper_id", sa.String(length=100), nullable=True),
        sa.Column("session_id", sa.String(length=100), nullable=True),
        sa.Column("surface", sa.String(length=16), nullable=True),
        sa.Column("device", sa.String(length=16), nullable=True),
        sa.Column("query_type", sa.String(length=16), nullable=True),
        sa.Column("served_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("query_id", name=op.f("pk_served_lists")),
    )
    op.create_index("ix_served_lists_served_at", "served_lists", ["served_at"], unique=False)
    op.create_table(
        "captions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("product", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.String(length=32), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("text_hash", sa.String(length=64), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["product"], ["products.number"], name=op.f("fk_captions_product_products"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_captions")),
        sa.UniqueConstraint("product", "source", "text_hash", name=op.f("uq_captions_product_source_text_hash")),
    )
    op.create_index(op.f("ix_captions_product"), "captions", ["product"], unique=False)
    op.create_index(op.f("ix_captions_text_hash"), "captions", ["text_hash"], unique=False)
    op.create_table(
        "index_builds",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("encoder_id", sa.String(length=80), nullable=False),
        sa.Column("item_heads", sa.LargeBinary(), nullable=True),
        sa.Column("image_collection", sa.String(length=120), nullable=False),
        sa.Column("caption_collection", sa.String(length=120), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["encoder_id"], ["encoders.id"], name=op.f("fk_index_builds_encoder_id_encoders")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_index_builds")),
        sa.UniqueConstraint("caption_collection", name=op.f("uq_index_builds_caption_collection")),
        sa.UniqueConstraint("image_collection", name=op.f("uq_index_builds_image_collection")),
    )
    op.create_table(
        "product_images",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("product", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=8), server_default="pending", nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=True),
        sa.Column("attempts", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["product"], ["products.number"], name=op.f("fk_product_images_product_products"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_product_images")),
        sa.UniqueConstraint("product", "source", name=op.f("uq_product_images_product_source")),
    )
    op.create_index(op.f("ix_product_images_content_hash"), "product_images", ["content_hash"], unique=False)
    op.create_index(
        "ix_product_images_due",
        "product_images",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index(
        "ix_product_images_parked", "product_images", ["id"], unique=False, postgresql_where=sa.text("state = 'parked'")
    )
    op.create_index(op.f("ix_product_images_product"), "product_images", ["product"], unique=False)
    op.create_table(
        "served_pages",
        sa.Column("query_id", sa.String(length=32), nullable=False),
        sa.Column("first_position", sa.Integer(), nullable=False),
        sa.Column("product_ids", sa.ARRAY(sa.String()), nullable=False),
        sa.Column("scores", sa.ARRAY(sa.Float()), nullable=False),
        sa.Column("served_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["query_id"],
            ["served_lists.query_id"],
            name=op.f("fk_served_pages_query_id_served_lists"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("query_id", "first_position", name=op.f("pk_served_pages")),
    )
    op.create_table(
        "variants",
        sa.Column("product", sa.BigInteger(), nullable=False),
        sa.Column("sku", sa.String(length=256), nullable=False),
        sa.Column("position", sa.Integer(), server_default="0", nullable=False),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("price", sa.Numeric(precision=14, scale=4), nullable=True),
        sa.Column("availability", sa.String(length=16), server_default="in_stock", nullable=False),
        sa.Column("attributes", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.ForeignKeyConstraint(
            ["product"], ["products.number"], name=op.f("fk_variants_product_products"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("product", "sku", name=op.f("pk_variants")),
    )
    op.create_index("ix_variants_sku_lower", "variants", [sa.literal_column("lower(sku)")], unique=False)
    op.create_table(
        "generations",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("index_build_id", sa.BigInteger(), nullable=False),
        sa.Column("query_heads", sa.LargeBinary(), nullable=True),
        sa.Column("calibration", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("data_range", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("gate_report", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("code_version", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("live_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["index_build_id"], ["index_builds.id"], name=op.f("fk_generations_index_build_id_index_builds")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_generations")),
    )
    op.create_index(
        "uq_generations_one_live", "generations", ["state"], unique=True, postgresql_where=sa.text("state = 'live'")
    )
    op.create_table(
        "index_rows",
        sa.Column("index_build_id", sa.BigInteger(), nullable=False),
        sa.Column("product", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("image_keys", sa.ARRAY(sa.BigInteger()), server_default="{}", nullable=False),
        sa.Column("caption_keys", sa.ARRAY(sa.BigInteger()), server_default="{}", nullable=False),
        sa.Column("written_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["index_build_id"],
            ["index_builds.id"],
            name=op.f("fk_index_rows_index_build_id_index_builds"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("index_build_id", "product", name=op.f("pk_index_rows")),
    )
    # numbers do not compress: trying costs as much time as writing them
    op.execute("ALTER TABLE feature_tokens ALTER COLUMN data SET STORAGE EXTERNAL")
    op.execute("ALTER TABLE features ALTER COLUMN vector SET STORAGE EXTERNAL")


def downgrade() -> None:

    op.drop_table("index_rows")
    op.drop_index("uq_generations_one_live", table_name="generations", postgresql_where=sa.text("state = 'live'"))
    op.drop_table("generations")
    op.drop_index("ix_variants_sku_lower", table_name="variants")
    op.drop_table("variants")
    op.drop_table("served_pages")
    op.drop_index(op.f("ix_product_images_product"), table_name="product_images")
    op.drop_index("ix_product_images_parked", table_name="product_images", postgresql_where=sa.text("state = 'parked'"))
    op.drop_index("ix_product_images_due", table_name="product_images", postgresql_where=sa.text("state = 'pending'"))
    op.drop_index(op.f("ix_product_images_content_hash"), table_name="product_images")
    op.drop_table("product_images")
    op.drop_table("index_builds")
    op.drop_index(op.f("ix_captions_text_hash"), table_name="captions")
    op.drop_index(op.f("ix_captions_product"), table_name="captions")
    op.drop_table("captions")
    op.drop_index("ix_served_lists_served_at", table_name="served_lists")
    op.drop_table("served_lists")
    op.drop_table("unit_keys")
    op.drop_index("ix_products_tags", table_name="products", postgresql_using="gin")
    op.drop_index("ix_products_price", table_name="products")
    op.drop_index("ix_products_newest", table_name="products")
    op.drop_index("ix_products_lexemes", table_name="products", postgresql_using="gin")
    op.drop_index("ix_products_category", table_name="products", postgresql_using="gin")
    op.drop_index("ix_products_brand", table_name="products")
    op.drop_index("ix_products_attributes", table_name="products", postgresql_using="gin")
    op.drop_table("products")
    op.drop_table("import_runs")
    op.drop_table("image_files")
    op.drop_table("features")
    op.drop_table("feature_tokens")
    op.drop_table("encoders")
    op.drop_table("audit_entries")
    op.drop_table("api_keys")
