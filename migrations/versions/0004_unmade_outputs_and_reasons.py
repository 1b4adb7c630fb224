"""objects that could not be made, and reasons as codes

Revision: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "unmade_outputs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("series_id", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("series_id", "revision", "kind"),
    )
    with op.batch_alter_table("unmade_outputs", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_unmade_outputs_series_id"), ["series_id"], unique=False)
    with op.batch_alter_table("assessments", schema=None) as batch_op:
        batch_op.add_column(sa.Column("reason_code", sa.String(), nullable=True))
    # Which class the reasons so far are of, nobody wrote down.
    assessments = sa.table("assessments", sa.column("reason"), sa.column("reason_code"))
    op.execute(assessments.update().where(assessments.c.reason.is_not(None)).values(reason_code="other-reason"))


def downgrade() -> None:
    # Not as a batch, which would copy the table: its measurements would hold the old one fast.
    op.drop_column("assessments", "reason_code")
    op.drop_table("unmade_outputs")
