"""indexes for many series: what status, results, couriers and retention ask for is found without reading all rows

Revision: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_INSTEAD = (
    # (table, the index that goes, its column, the index that comes, its columns)
    ("series", "ix_series_state", "state", "series_by_state", ["state", "last_instance_at"]),
    ("deliveries", "ix_deliveries_destination", "destination", "deliveries_by_destination", ["destination", "state"]),
    (
        "measurements", "ix_measurements_assessment_id", "assessment_id", "measurements_of_an_assessment",
        ["assessment_id", "slice_index"],
    ),
)  # fmt: skip

_PARTIAL = (
    ("deliveries", "pending_deliveries", ["destination", "next_try_at"], "state = 'pending'"),
    ("instances", "instances_with_pixels", ["series_id", "path"], "expired_at IS NULL"),
    ("series", "series_assessed_anew", ["revision"], "revision > 1"),
)


def upgrade() -> None:
    for table, old, _, new, columns in _INSTEAD:
        op.drop_index(old, table)
        op.create_index(new, table, columns)
    for table, name, columns, where in _PARTIAL:
        op.create_index(name, table, columns, sqlite_where=sa.text(where))
    op.create_index(op.f("ix_series_patient_id"), "series", ["patient_id"])


def downgrade() -> None:
    op.drop_index(op.f("ix_series_patient_id"), "series")
    for table, name, _, _ in _PARTIAL:
        op.drop_index(name, table)
    for table, old, column, new, _ in _INSTEAD:
        op.drop_index(new, table)
        op.create_index(old, table, [column])
