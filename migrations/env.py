"""Alembic's environment: the node hands over the path of its SQLite file."""

from pathlib import Path

from alembic import context

from ctiqa_node.db.session import open_engine
from ctiqa_node.db.tables import Base


def run() -> None:
    given = context.config.attributes.get("database_path") or context.get_x_argument(as_dictionary=True).get("database")
    if given is None:
        raise SystemExit("name the database: alembic -x database=PATH …")
    engine = open_engine(Path(given))
    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


run()
