"""deliveries that were refused, and five more kinds of outputs

The columns hold words without a CHECK, so that the tables stay as they are. The revision keeps versions out that do
not know the new words; on the way back they are taken out.

Revision: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_NEW_KINDS = ("quality_maps", "parametric_map", "key_objects", "pdf", "text_report")


def upgrade() -> None:
    pass


def downgrade() -> None:
    outputs = sa.table("outputs", sa.column("id"), sa.column("kind"))
    deliveries = sa.table("deliveries", sa.column("id"), sa.column("output_id"), sa.column("state"))
    tries = sa.table("delivery_tries", sa.column("delivery_id"))
    of_new_kinds = deliveries.c.output_id.in_(sa.select(outputs.c.id).where(outputs.c.kind.in_(_NEW_KINDS)))
    op.execute(tries.delete().where(tries.c.delivery_id.in_(sa.select(deliveries.c.id).where(of_new_kinds))))
    op.execute(deliveries.delete().where(of_new_kinds))
    op.execute(outputs.delete().where(outputs.c.kind.in_(_NEW_KINDS)))
    op.execute(deliveries.update().where(deliveries.c.state == "refused").values(state="failed"))
