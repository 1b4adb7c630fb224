"""`db upgrade`, `db backup`, `db restore`: look after the database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ctiqa_node.cli import console
from ctiqa_node.cli.context import config_of, open_database, readable_state
from ctiqa_node.db.revision import current_and_head
from ctiqa_node.db.upgrade import upgrade
from ctiqa_node.ledger.backup import make_backup
from ctiqa_node.ledger.backup import restore as put_back
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


@app.command()
def backup(context: typer.Context) -> None:
    """Copy the database as it is now into the folder backups of the state folder, beside a running node or without one.

    The node does so by itself every day (ledger.backup_every_hours). The copy is looked through before it counts.

    \b
    Examples:
      ctiqa-node db backup

    Exit codes: 0 made, 1 it could not be made, and why.
    """
    config = config_of(context)
    with open_database(config, "db backup"):
        made = make_backup(
            StateFolder(config.node.state_dir), config.ledger.backups_kept, config.spool.min_free_mib << 20
        )
    console.say(f"{made}: {made.stat().st_size / 2**20:.1f} MiB, looked through and sound.")


@app.command()
def restore(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, metavar="FILE", help="The backup.")],
) -> None:
    """Put a backup in the place of the database. The node must be stopped; what was there is kept beside the backups.

    What was received since the backup lies in the spool without rows: the next start sets it aside in spool/unclaimed,
    and `ctiqa-node send` brings it in again.

    \b
    Examples:
      ctiqa-node db restore /var/lib/ctiqa-node/backups/ctiqa-20261120-030000.sqlite

    Exit codes: 0 restored, 2 the backup cannot be used or a node is running; nothing was changed.
    """
    folder = StateFolder(config_of(context).node.state_dir)
    with readable_state(config_of(context)):
        folder.create()
        with NodeLock(folder):
            replaced = put_back(folder, file)
    console.say(f"{folder.database} is {file.name} now.")
    if replaced is not None:
        console.say(f"What was there is {replaced}.")
    console.say("Start the node; then bring in again what was received since the backup, and read the books:")
    console.say(f"  ctiqa-node send {folder.spool / 'unclaimed'}")
    console.say("  ctiqa-node reconcile")
