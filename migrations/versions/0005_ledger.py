"""the ledger: which revision each instance was part of, and what was found when the books were read

Revision: 0005
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0003"
branch_labels = None
depends_on = None

# Before this revision only the values of slices tell which instances were part of a volume.
_ASSESSED_IN = """
UPDATE instances SET assessed_in = (
    SELECT MAX(a.revision) FROM assessments a JOIN measurements m ON m.assessment_id = a.id
    WHERE a.series_id = instances.series_id AND m.sop_instance_uid = instances.sop_instance_uid
)
WHERE state = 'kept'
"""


def upgrade() -> None:
    op.create_table(
        "reconciliations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(), nullable=False),
        sa.Column("finished_at", sa.DateTime(), nullable=False),
        sa.Column("adds_up", sa.Boolean(), nullable=False),
        sa.Column("instances", sa.Integer(), nullable=False),
        sa.Column("fates", sa.JSON(), nullable=False),
        sa.Column("files_read", sa.Integer(), nullable=False),
        sa.Column("bytes_read", sa.Integer(), nullable=False),
        sa.Column("troubles", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.add_column("instances", sa.Column("assessed_in", sa.Integer(), nullable=True))
    op.execute(_ASSESSED_IN)


def downgrade() -> None:
    op.drop_column("instances", "assessed_in")
    op.drop_table("reconciliations")
