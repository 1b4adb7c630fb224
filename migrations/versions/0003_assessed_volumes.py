"""what is known of each assessed volume, and what each model computes

Revision: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "assessed_volumes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("series_id", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("slices", sa.Integer(), nullable=False),
        sa.Column("completeness", sa.String(), nullable=False),
        sa.Column("missing_slices", sa.Integer(), nullable=False),
        sa.Column("window_agreement", sa.String(), nullable=True),
        sa.Column("findings", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("series_id", "revision"),
    )
    with op.batch_alter_table("assessed_volumes", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_assessed_volumes_series_id"), ["series_id"], unique=False)
    with op.batch_alter_table("assessments", schema=None) as batch_op:
        batch_op.add_column(sa.Column("summary", sa.String(), server_default="", nullable=False))


def downgrade() -> None:
    # Not as a batch, which would copy the table: its measurements would hold the old one fast.
    op.drop_column("assessments", "summary")
    op.drop_table("assessed_volumes")
