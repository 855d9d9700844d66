"""the traffic that an experiment wants, and the hash of a layer

Revision: 0007, after 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("experiments", sa.Column("traffic", sa.REAL, server_default="1", nullable=False))
    op.add_column("layers", sa.Column("hashing", sa.String(8), server_default="sha256", nullable=False))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_column("layers", "hashing")
    op.drop_column("experiments", "traffic")
