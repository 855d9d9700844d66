"""everything shown and everything done with it: day partitions, exposures, coins, experiments

Revision: 0006, after 0005
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_LEGACY = "DATE '2000-01-01'"  # the day of lists whose ids name none
_DAYS_AHEAD = 3

# row and column count from 0; a list whose columns nobody said has none
_SHOWN = """
CREATE VIEW shown AS
SELECT l.query_id, l.served_on, l.served_at, l.parent_id, l.root_id, l.turn, l.generation_id, l.experiments,
       l.assignment, l.coins, l.shopper_id, l.session_id, l.user_id, l.surface, l.device, l.query_type, l.locale,
       l.cohort, l.layout, l.is_bot, s.product_id, p.first_position + s.place - 1 AS "position",
       (p.first_position + s.place - 2) / c.columns AS grid_row,
       (p.first_position + s.place - 2) % c.columns AS grid_column,
       s.score, s.p_show,
       CASE WHEN p.first_position = 1 THEN l.coins -> 'teams' ->> CAST(s.place - 1 AS integer) END AS team
FROM served_lists l
JOIN served_pages p ON p.query_id = l.query_id AND p.served_on = l.served_on
CROSS JOIN LATERAL (SELECT coalesce(l.columns, CASE WHEN l.layout = 'list' THEN 1 END) AS columns) c
CROSS JOIN LATERAL unnest(p.product_ids, p.scores, p.p_show) WITH ORDINALITY AS s(product_id, score, p_show, place)
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_constraint("fk_served_pages_query_id_served_lists", "served_pages", type_="foreignkey")
    _set_aside("served_lists", ["ix_served_lists_served_at", "ix_served_lists_root_id"])
    _set_aside("served_pages", [])
    _set_aside("events", ["ix_events_query_id", "ix_events_received_at"])
    _make_lists()
    _make_events()
    for table, day in (("served_lists", "served_on"), ("served_pages", "served_on"), ("events", "received_on")):
        _make_partitions(table)
        _take_back(table, day)
    op.execute(_SHOWN)
    _make_records()
    _make_experiments()


def _set_aside(table: str, indexes: list[str]) -> None:
    for index in indexes:
        op.drop_index(index, table)
    op.drop_constraint(f"pk_{table}", table, type_="primary")
    op.rename_table(table, f"old_{table}")


def _make_lists() -> None:
    op.create_table(
        "served_lists",
        sa.Column("query_id", sa.String(32), nullable=False),
        sa.Column("served_on", sa.Date, nullable=False),
        sa.Column("parent_id", sa.String(32)),
        sa.Column("root_id", sa.String(32)),
        sa.Column("turn", sa.SmallInteger, server_default="1", nullable=False),
        sa.Column("generation_id", sa.BigInteger, nullable=False),
        sa.Column("experiments", postgresql.JSONB, server_default="{}", nullable=False),
        sa.Column("assignment", postgresql.JSONB, server_default="{}", nullable=False),
        sa.Column("coins", postgresql.JSONB),
        sa.Column("request", postgresql.JSONB, nullable=False),
        sa.Column("refinement", postgresql.JSONB),
        sa.Column("total", sa.Integer, nullable=False),
        sa.Column("total_is", sa.String(8), nullable=False),
        sa.Column("shopper_id", sa.String(100)),
        sa.Column("session_id", sa.String(100)),
        sa.Column("user_id", sa.String(100)),
        sa.Column("surface", sa.String(16)),
        sa.Column("device", sa.String(16)),
        sa.Column("query_type", sa.String(16)),
        sa.Column("locale", sa.String(16)),
        sa.Column("cohort", sa.String(32)),
        sa.Column("layout", sa.String(8)),
        sa.Column("columns", sa.SmallInteger),
        sa.Column("is_bot", sa.Boolean, server_default="false", nullable=False),
        sa.Column("latency_ms", sa.REAL),
        sa.Column("served_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("query_id", "served_on", name="pk_served_lists"),
        postgresql_partition_by="RANGE (served_on)",
    )
    op.create_index("ix_served_lists_served_at", "served_lists", ["served_at"])
    op.create_index("ix_served_lists_root_id", "served_lists", ["root_id"], postgresql_where="root_id IS NOT NULL")
    op.create_table(
        "served_pages",
        sa.Column("query_id", sa.String(32), nullable=False),
        sa.Column("served_on", sa.Date, nullable=False),
        sa.Column("first_position", sa.Integer, nullable=False),
        sa.Column("product_ids", postgresql.ARRAY(sa.String), nullable=False),
        sa.Column("scores", postgresql.ARRAY(sa.Float), nullable=False),
        sa.Column("p_show", postgresql.ARRAY(sa.REAL)),
        sa.Column("candidates", postgresql.ARRAY(sa.BigInteger)),
        sa.Column("candidate_scores", postgresql.ARRAY(sa.REAL)),
        sa.Column("served_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("query_id", "served_on", "first_position", name="pk_served_pages"),
        postgresql_partition_by="RANGE (served_on)",
    )


def _make_events() -> None:
    today = sa.text("((now() AT TIME ZONE 'utc')::date)")
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("received_on", sa.Date, server_default=today, nullable=False),
        sa.Column("message_id", sa.String(100), nullable=False),
        sa.Column("item", sa.SmallInteger, server_default="0", nullable=False),
        sa.Column("type", sa.String(24), nullable=False),
        sa.Column("query_id", sa.String(32)),
        sa.Column("product_id", sa.String(256)),
        sa.Column("shopper_id", sa.String(100)),
        sa.Column("session_id", sa.String(100)),
        sa.Column("user_id", sa.String(100)),
        sa.Column("value", sa.Float),
        sa.Column("dwell_ms", sa.Integer),
        sa.Column("image", sa.SmallInteger),
        sa.Column("box", postgresql.ARRAY(sa.Float)),
        sa.Column("visible_share", sa.REAL),
        sa.Column("visible_ms", sa.Integer),
        sa.Column("columns", sa.SmallInteger),
        sa.Column("quantity", sa.Integer),
        sa.Column("price", sa.Numeric(12, 2)),
        sa.Column("currency", sa.String(3)),
        sa.Column("surface", sa.String(16)),
        sa.Column("device", sa.String(16)),
        sa.Column("next_query_id", sa.String(32)),
        sa.Column("attributes", postgresql.JSONB),
        sa.Column("is_bot", sa.Boolean, server_default="false", nullable=False),
        sa.Column("attribution", sa.String(8), server_default="given", nullable=False),
        sa.Column("source", sa.String(8), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", "received_on", name="pk_events"),
        postgresql_partition_by="RANGE (received_on)",
    )
    op.create_index("ix_events_query_id", "events", ["query_id"])
    op.create_index("ix_events_received_at", "events", ["received_at"])
    for unit in ("shopper_id", "user_id"):
        op.create_index(f"ix_events_{unit}", "events", [unit, "product_id"], postgresql_where=f"{unit} IS NOT NULL")
    op.create_index("ix_events_pending", "events", ["received_at"], postgresql_where="attribution = 'pending'")


def _make_partitions(table: str) -> None:
    """One for each day from today on, one for each that has events, and one for whatever has none."""
    op.execute(f"CREATE TABLE {table}_default PARTITION OF {table} DEFAULT")
    had = " UNION SELECT (received_at AT TIME ZONE 'utc')::date FROM old_events" if table == "events" else ""
    days = op.get_bind().execute(
        sa.text(f"SELECT (now() AT TIME ZONE 'utc')::date + n AS day FROM generate_series(0, {_DAYS_AHEAD}) AS n{had}")  # noqa: S608  constants only
    )
    for day in days.scalars():
        op.execute(
            f"CREATE TABLE {table}_y{day:%Y%m%d} PARTITION OF {table} FOR VALUES FROM ('{day}') TO (DATE '{day}' + 1)"
        )


def _take_back(table: str, day: str) -> None:
    """Rows as they were, each under its day."""
    columns = {column["name"]: column["name"] for column in sa.inspect(op.get_bind()).get_columns(f"old_{table}")}
    columns[day] = "(received_at AT TIME ZONE 'utc')::date" if table == "events" else _LEGACY
    if table == "events":
        columns["attribution"] = "CASE WHEN query_id IS NULL THEN 'none' ELSE 'given' END"
    into, of = ", ".join(columns), ", ".join(columns.values())
    kept = "OVERRIDING SYSTEM VALUE" if table == "events" else ""
    op.execute(f"INSERT INTO {table} ({into}) {kept} SELECT {of} FROM old_{table}")  # noqa: S608  names of columns only
    if table == "events":
        op.execute("SELECT setval(pg_get_serial_sequence('events', 'id'), max(id)) FROM events")
    op.drop_table(f"old_{table}")


def _make_records() -> None:
    op.create_table(
        "event_counts",
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("code", sa.String(32), server_default="", nullable=False),
        sa.Column("n", sa.BigInteger, server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("hour", "status", "code", name="pk_event_counts"),
    )
    op.create_table(
        "refused_events",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("code", sa.String(32), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("key_id", sa.BigInteger),
        sa.Column("origin", sa.String(300)),
        sa.PrimaryKeyConstraint("id", name="pk_refused_events"),
    )
    op.create_table(
        "bot_units",
        sa.Column("unit", sa.String(100), nullable=False),
        sa.Column("reason", sa.String(200), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("unit", name="pk_bot_units"),
    )
    op.create_table(
        "erasures",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("units", postgresql.ARRAY(sa.Text), nullable=False),
        sa.Column("generations", postgresql.ARRAY(sa.BigInteger), server_default="{}", nullable=False),
        sa.Column("counts", postgresql.JSONB, server_default="{}", nullable=False),
        sa.Column("actor", sa.String(120), server_default="", nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_erasures"),
    )


def _make_experiments() -> None:
    op.create_table(
        "layers",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("salt", sa.String(64), nullable=False),
        sa.Column("salt_version", sa.Integer, server_default="1", nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_layers"),
    )
    op.create_table(
        "experiments",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("layer", sa.String(32), nullable=False),
        sa.Column("method", sa.String(16), nullable=False),
        sa.Column("metric", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), server_default="draft", nullable=False),
        sa.Column("entry_salt", sa.String(64), nullable=False),
        sa.Column("arm_salt", sa.String(64), nullable=False),
        sa.Column("slices", postgresql.JSONB, server_default="[]", nullable=False),
        sa.Column("coverage", sa.REAL, nullable=False),
        sa.Column("targeting", postgresql.JSONB, server_default="{}", nullable=False),
        sa.Column("arms", postgresql.JSONB, server_default="[]", nullable=False),
        sa.Column("revision", sa.BigInteger, server_default="1", nullable=False),
        sa.Column("decision", postgresql.JSONB),
        sa.Column("actor", sa.String(120), server_default="", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True)),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.ForeignKeyConstraint(["layer"], ["layers.name"], name="fk_experiments_layer_layers"),
        sa.PrimaryKeyConstraint("id", name="pk_experiments"),
        sa.UniqueConstraint("name", name="uq_experiments_name"),
    )
    op.create_table(
        "experiment_overrides",
        _of_experiment("experiment_overrides"),
        sa.Column("experiment_id", sa.BigInteger, nullable=False),
        sa.Column("unit", sa.String(100), nullable=False),
        sa.Column("arm", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("experiment_id", "unit", name="pk_experiment_overrides"),
    )
    op.create_table(
        "sticky_arms",
        _of_experiment("sticky_arms"),
        sa.Column("unit", sa.String(100), nullable=False),
        sa.Column("experiment_id", sa.BigInteger, nullable=False),
        sa.Column("arm", sa.String(64), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("unit", "experiment_id", name="pk_sticky_arms"),
    )
    op.create_index("ix_sticky_arms_experiment_id", "sticky_arms", ["experiment_id"])
    op.create_table(
        "exploration",
        sa.Column("id", sa.SmallInteger, autoincrement=False, server_default="1", nullable=False),
        sa.Column("share", sa.REAL, nullable=False),
        sa.Column("policy", postgresql.JSONB, server_default="{}", nullable=False),
        sa.Column("actor", sa.String(120), server_default="", nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_exploration"),
    )
    op.create_table(
        "generation_pins",
        sa.Column("generation_id", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.ForeignKeyConstraint(
            ["generation_id"],
            ["generations.id"],
            name="fk_generation_pins_generation_id_generations",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("generation_id", "reason", name="pk_generation_pins"),
    )


def _of_experiment(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["experiment_id"],
        ["experiments.id"],
        name=f"fk_{table}_experiment_id_experiments",
        ondelete="CASCADE",
    )


_PLAIN = {
    "served_lists": "query_id, parent_id, root_id, turn, generation_id, experiments, request, refinement, total,"
    " total_is, shopper_id, session_id, surface, device, query_type, served_at",
    "served_pages": "query_id, first_position, product_ids, scores, served_at",
    "events": "id, message_id, type, query_id, product_id, shopper_id, session_id, value, dwell_ms, image, box, source,"
    " occurred_at, received_at",
}
"""Columns that the tables had, in their order."""


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for table in ("generation_pins", "exploration", "sticky_arms", "experiment_overrides", "experiments", "layers"):
        op.drop_table(table)
    for table in ("erasures", "bot_units", "refused_events", "event_counts"):
        op.drop_table(table)
    op.execute("DROP VIEW shown")
    for table, columns in _PLAIN.items():
        op.rename_table(table, f"old_{table}")
        op.execute(f"ALTER TABLE old_{table} RENAME CONSTRAINT pk_{table} TO pk_old_{table}")
        op.execute(f"CREATE TABLE {table} AS SELECT {columns} FROM old_{table}")  # noqa: S608  constants only
    _constrain_again()
    for table in _PLAIN:
        op.drop_table(f"old_{table}")
    op.create_index("ix_served_lists_served_at", "served_lists", ["served_at"])
    op.create_index("ix_served_lists_root_id", "served_lists", ["root_id"], postgresql_where="root_id IS NOT NULL")
    op.create_index("ix_events_query_id", "events", ["query_id"])
    op.create_index("ix_events_received_at", "events", ["received_at"])


def _constrain_again() -> None:
    """What a table that is made of a selection is without."""
    for table, columns in _PLAIN.items():
        for column in sa.inspect(op.get_bind()).get_columns(f"old_{table}"):
            if column["name"] in columns.split(", ") and not column["nullable"]:
                op.alter_column(table, column["name"], nullable=False)
    for column, default in {"turn": "1", "experiments": "{}"}.items():
        op.alter_column("served_lists", column, server_default=default)
    for table, column in {"served_lists": "served_at", "served_pages": "served_at", "events": "received_at"}.items():
        op.alter_column(table, column, server_default=sa.func.now())
    op.execute("ALTER TABLE events ALTER id ADD GENERATED BY DEFAULT AS IDENTITY")
    op.execute(
        "SELECT setval(pg_get_serial_sequence('events', 'id'), coalesce(max(id), 1), max(id) IS NOT NULL) FROM events"
    )
    op.create_primary_key("pk_served_lists", "served_lists", ["query_id"])
    op.create_primary_key("pk_served_pages", "served_pages", ["query_id", "first_position"])
    op.create_primary_key("pk_events", "events", ["id"])
    op.execute("DELETE FROM served_pages p WHERE NOT EXISTS (SELECT FROM served_lists l WHERE l.query_id = p.query_id)")
    op.create_foreign_key(
        "fk_served_pages_query_id_served_lists", "served_pages", "served_lists", ["query_id"], ["query_id"],
        ondelete="CASCADE",
    )  # fmt: skip
