"""`purge`: remove everything of one patient or study, and prove it."""

from __future__ import annotations

from typing import Annotated

import typer

from ctiqa_node.cli import console
from ctiqa_node.cli.context import config_of, open_database
from ctiqa_node.db.session import Database
from ctiqa_node.errors import CtiqaError
from ctiqa_node.ledger import purge as ledger
from ctiqa_node.ledger import traces
from ctiqa_node.ledger.backup import make_backup
from ctiqa_node.ledger.purge import Holding, Target
from ctiqa_node.state import StateFolder


def purge(
    context: typer.Context,
    patient: Annotated[str | None, typer.Option(metavar="ID", help="The Patient ID.")] = None,
    study: Annotated[str | None, typer.Option(metavar="UID", help="The Study Instance UID.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove everything of one patient or one study: received files, results, all rows, older backups; and prove it.

    Rows go in one transaction; the database is then written anew, so that free pages hold nothing either, and all is
    searched. Refused while a job of it is running. What archives got is theirs; the audit keeps counts.

    \b
    Examples:
      ctiqa-node purge --study 1.2.840.113619.2.55.3.1234
      ctiqa-node purge --patient 4711 --yes

    Exit codes: 0 gone and nothing found, 1 nothing is known of it, or it runs, or something was found afterwards.
    """
    if (patient is None) == (study is None):
        raise typer.BadParameter("give --patient or --study")
    config = config_of(context)
    folder, target = StateFolder(config.node.state_dir), Target(patient, study)
    with open_database(config, "purge") as database:
        found = _look(database, folder, target)
        if not yes and not typer.confirm(f"Remove {_what(found)} for good?", err=True):
            raise CtiqaError("Nothing was removed.")
        _carry_out(database, folder, target)
    if config.ledger.backup_every_hours:
        make_backup(folder, config.ledger.backups_kept, config.spool.min_free_mib << 20)


def _look(database: Database, folder: StateFolder, target: Target) -> Holding:
    with database.read() as session:
        found = ledger.holding(session, folder, target)
    if found.is_empty:
        raise CtiqaError(f"Nothing is known of {'patient' if target.patient_id else 'study'} {_name(target)}.")
    return found


def _carry_out(database: Database, folder: StateFolder, target: Target) -> None:
    with database.read() as session:
        named = ledger.identifiers(session, target)
    found = ledger.purge(database, folder, target)
    traces.rewrite(folder.database)
    left = traces.search(database, folder, target, named)
    console.say(f"Removed: {_what(found)}.")
    if left:
        raise CtiqaError("Not everything is gone:\n" + "\n".join(f"  {trace}" for trace in left))
    console.say("Database, write-ahead log, backups and folders were searched: nothing of it is left.")


def _name(target: Target) -> str:
    return target.patient_id or target.study_uid or ""


def _what(found: Holding) -> str:
    parts = [
        f"{found.series} series",
        console.counted(found.instances, "instance"),
        console.counted(found.results, "result"),
    ]
    if found.unclaimed:
        parts.append(console.counted(len(found.unclaimed), "file") + " in spool/unclaimed")
    return ", ".join(parts)
