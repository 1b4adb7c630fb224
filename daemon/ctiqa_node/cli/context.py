"""What the commands share: the configuration that was named, and the database of the node, opened with care."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from sqlalchemy.exc import DatabaseError, OperationalError

from ctiqa_node import audit
from ctiqa_node.cli.console import print_failure
from ctiqa_node.config import Config, load_config
from ctiqa_node.db.books import AuditEvent
from ctiqa_node.db.revision import current_and_head
from ctiqa_node.db.session import Database
from ctiqa_node.errors import StateError
from ctiqa_node.state import StateFolder


def named_file(context: typer.Context) -> Path | None:
    """The file of the global option --config."""
    path = context.obj
    assert path is None or isinstance(path, Path)
    return path


def config_of(context: typer.Context) -> Config:
    """The configuration that holds for this command.

    Raises:
        ConfigError: it cannot be used.
    """
    return load_config(named_file(context))


def quiet_logs(config: Config) -> None:
    """Log to standard error what needs attention, and leave standard output to the command."""
    from ctiqa_node.logs import configure_logging  # structlog, which the commands that only show do without

    configure_logging(config.logging.model_copy(update={"level": "warning"}))


@contextmanager
def open_database(config: Config, noted_as: str | None = None) -> Iterator[Database]:
    """The node's database, beside a running node or without one. `noted_as` is what the audit calls the command.

    Raises:
        StateError: there is none yet, its tables are not those of this version, or it cannot be read.
    """
    folder = StateFolder(config.node.state_dir)
    with readable_state(config):
        if not folder.database.exists():
            raise StateError(
                f"No node has run on {folder.root} yet, so there is no database. Start one with `ctiqa-node serve`."
            )
        require_current(folder.database)
        database = Database(folder.database)
        try:
            if noted_as is not None:
                _note(database, noted_as)
            yield database
        finally:
            database.close()


def note_command(config: Config, command: str) -> None:
    """Write a command into the audit that uses the state folder but not the database, if there is one."""
    if StateFolder(config.node.state_dir).database.exists():
        with open_database(config, command):
            pass


def _note(database: Database, command: str) -> None:
    try:
        with database.write() as session:
            audit.note(session, AuditEvent.COMMAND, audit.user(), {"command": command})
    except OperationalError as error:  # what only looks shall work on a disk that cannot be written, too
        print_failure(f"This command could not be written into the audit: {error.orig}.")


@contextmanager
def readable_state(config: Config) -> Iterator[None]:
    """Turn a refusal by the system or by SQLite into a sentence.

    Raises:
        StateError: the state folder may not be looked into, or its database is broken.
    """
    root = config.node.state_dir
    try:
        yield
    except PermissionError as error:
        raise StateError(f"{root} may not be read by this user; run the command as the node's user or root.") from error
    except DatabaseError as error:
        raise StateError(f"The database in {root} cannot be used: {error.orig}.") from error


def require_current(path: Path) -> None:
    """Make sure that an existing database has the tables of this version.

    Raises:
        StateError: it has not, and what to do.
    """
    found, needed = current_and_head(path)
    if found != needed:
        raise StateError(
            f"The database {path} is at revision {found or 'none'} and this version needs {needed}. "
            "Stop the node and run `ctiqa-node db upgrade`."
        )
