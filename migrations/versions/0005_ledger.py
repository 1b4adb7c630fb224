"""the ledger: the audit, the fate of each instance, what was found when the books were read, and files that are to go

Revision: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
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

_TRIGGERS = (
    "CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit "
    "BEGIN SELECT RAISE(ABORT, 'the audit can only be added to'); END",
    "CREATE TRIGGER audit_no_replacement BEFORE INSERT ON audit WHEN EXISTS (SELECT 1 FROM audit WHERE id = NEW.id) "
    "BEGIN SELECT RAISE(ABORT, 'the audit can only be added to'); END",
    "CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit "
    "BEGIN SELECT RAISE(ABORT, 'the audit can only be added to'); END",
    "CREATE TRIGGER audit_received AFTER UPDATE OF outcome ON associations "
    "WHEN OLD.outcome = 'open' AND NEW.outcome <> 'open' AND NEW.stored + NEW.refused > 0 "
    "BEGIN INSERT INTO audit (at, event, who, address, detail) "
    "VALUES (COALESCE(NEW.closed_at, NEW.opened_at), 'received', NEW.calling_ae_title, NEW.address, "
    "json_object('stored', NEW.stored, 'refused', NEW.refused, 'association', NEW.outcome)); END",
    "CREATE TRIGGER audit_rejected AFTER INSERT ON associations WHEN NEW.outcome = 'rejected' "
    "BEGIN INSERT INTO audit (at, event, who, address, detail) "
    "VALUES (NEW.opened_at, 'association rejected', NEW.calling_ae_title, NEW.address, "
    "json_object('reason', COALESCE(NEW.detail, ''))); END",
)


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("who", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=True),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_audit_at"), "audit", ["at"], unique=False)
    op.create_index(op.f("ix_audit_event"), "audit", ["event"], unique=False)
    for trigger in _TRIGGERS:
        op.execute(trigger)
    op.create_table(
        "file_removals",
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("decided_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("path"),
    )
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
    op.add_column("instances", sa.Column("expired_at", sa.DateTime(), nullable=True))
    op.execute(_ASSESSED_IN)


def downgrade() -> None:
    for name in ("audit_received", "audit_rejected"):
        op.execute(f"DROP TRIGGER {name}")
    op.drop_column("instances", "expired_at")
    op.drop_column("instances", "assessed_in")
    op.drop_table("reconciliations")
    op.drop_table("file_removals")
    op.drop_table("audit")
