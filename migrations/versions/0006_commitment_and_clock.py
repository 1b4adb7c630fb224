"""storage commitment both ways, what an archive has of a series, evidence of completeness, and steps of the clock

Revision: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("deliveries", sa.Column("committed_at", sa.DateTime(), nullable=True))
    op.create_table(
        "commitment_asks",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("delivery_id", sa.Integer(), nullable=False),
        sa.Column("transaction_uid", sa.String(), nullable=False),
        sa.Column("asked_at", sa.DateTime(), nullable=False),
        sa.Column("answered_at", sa.DateTime(), nullable=True),
        sa.Column("failure_reason", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["delivery_id"], ["deliveries.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("transaction_uid", "delivery_id"),
    )
    op.create_index(op.f("ix_commitment_asks_delivery_id"), "commitment_asks", ["delivery_id"], unique=False)
    op.create_table(
        "commitment_requests",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("transaction_uid", sa.String(), nullable=False),
        sa.Column("calling_ae_title", sa.String(), nullable=False),
        sa.Column("called_ae_title", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("received_at", sa.DateTime(), nullable=False),
        sa.Column("next_try_at", sa.DateTime(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("last_trouble", sa.String(), nullable=True),
        sa.Column("reported_at", sa.DateTime(), nullable=True),
        sa.Column("committed", sa.Integer(), nullable=False),
        sa.Column("not_committed", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("calling_ae_title", "transaction_uid"),
    )
    op.create_index(op.f("ix_commitment_requests_state"), "commitment_requests", ["state"], unique=False)
    op.create_table(
        "commitment_references",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("request_id", sa.Integer(), nullable=False),
        sa.Column("instance_id", sa.Integer(), nullable=True),
        sa.Column("sop_class_uid", sa.String(), nullable=False),
        sa.Column("sop_instance_uid", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["instance_id"], ["instances.id"]),
        sa.ForeignKeyConstraint(["request_id"], ["commitment_requests.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    for column in ("instance_id", "request_id"):
        op.create_index(op.f(f"ix_commitment_references_{column}"), "commitment_references", [column], unique=False)
    op.create_table(
        "archive_counts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("series_id", sa.Integer(), nullable=False),
        sa.Column("archive", sa.String(), nullable=False),
        sa.Column("asked_at", sa.DateTime(), nullable=False),
        sa.Column("instances", sa.Integer(), nullable=True),
        sa.Column("trouble", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("series_id"),
    )
    op.add_column("assessed_volumes", sa.Column("evidence", sa.JSON(), server_default="[]", nullable=False))
    op.create_table(
        "clock_steps",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )


def downgrade() -> None:
    op.drop_table("clock_steps")
    op.drop_column("assessed_volumes", "evidence")
    op.drop_table("archive_counts")
    for table in ("commitment_references", "commitment_requests", "commitment_asks"):
        op.drop_table(table)
    # A version that asks for no commitment sends it once more, which an archive knows by its UID.
    op.execute("UPDATE deliveries SET state = 'pending' WHERE state = 'uncommitted'")
    op.drop_column("deliveries", "committed_at")
