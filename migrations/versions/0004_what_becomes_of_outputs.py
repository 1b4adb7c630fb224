"""objects that could not be made, objects that were removed, and reasons as codes

On the way back, a removed object looks as if it were there; as all its deliveries have ended, nobody looks for it.

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
    with op.batch_alter_table("outputs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("state", sa.String(length=32), server_default="kept", nullable=False))
        batch_op.add_column(sa.Column("removed_at", sa.DateTime(), nullable=True))
        batch_op.create_index(batch_op.f("ix_outputs_state"), ["state"], unique=False)
    with op.batch_alter_table("assessments", schema=None) as batch_op:
        batch_op.add_column(sa.Column("reason_code", sa.String(), nullable=True))
    # Which class the reasons so far are of, nobody wrote down.
    assessments = sa.table("assessments", sa.column("reason"), sa.column("reason_code"))
    op.execute(assessments.update().where(assessments.c.reason.is_not(None)).values(reason_code="other-reason"))


def downgrade() -> None:
    # Not as batches, which would copy the tables: measurements and deliveries would hold the old ones fast.
    op.drop_column("assessments", "reason_code")
    op.drop_index("ix_outputs_state", "outputs")
    op.drop_column("outputs", "removed_at")
    op.drop_column("outputs", "state")
    op.drop_table("unmade_outputs")
