"""`db upgrade`: bring the database to the tables of this version."""

from __future__ import annotations

import typer

from ctiqa_node.cli import console
from ctiqa_node.cli.context import config_of, readable_state
from ctiqa_node.db.upgrade import current_and_head, upgrade
from ctiqa_node.state import NodeLock, StateFolder

app = typer.Typer(no_args_is_help=True, help="Look after the database.")


@app.callback()
def group() -> None:
    """Look after the database."""


@app.command(name="upgrade")
def upgrade_database(context: typer.Context) -> None:
    """Make the database, or bring it to the tables of this version; what is in it stays.

    The node does so by itself when it starts; this is for doing it at a time of your choice, after a backup. A running
    node must be stopped first.

    \b
    Examples:
      ctiqa-node db upgrade
      ctiqa-node --config /etc/ctiqa-node/config.yaml db upgrade

    Exit codes: 0 the tables are those of this version, 2 they could not be made so.
    """
    config = config_of(context)
    folder = StateFolder(config.node.state_dir)
    with readable_state(config):
        folder.create()
        before, head = current_and_head(folder.database)
        if before != head:
            with NodeLock(folder):
                before, head = upgrade(folder.database)
    if before == head:
        console.say(f"{folder.database} is at revision {head}; there is nothing to do.")
    else:
        console.say(f"{folder.database}: revision {before or 'none'} → {head}.")
