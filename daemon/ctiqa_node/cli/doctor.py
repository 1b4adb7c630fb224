"""`doctor`: is everything as it should be, and what to do where it is not; on one page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import groupby
from typing import Annotated

import typer
from pydantic import BaseModel
from rich.progress import Progress, SpinnerColumn, TextColumn
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from ctiqa_node.cli import console
from ctiqa_node.cli.console import AsJson
from ctiqa_node.cli.context import named_file, quiet_logs
from ctiqa_node.cli.peers import this_node
from ctiqa_node.config import Config, find_config, load_config
from ctiqa_node.db.session import Database
from ctiqa_node.db.tables import Heartbeat
from ctiqa_node.doctor.finding import Finding, Mark, failed, fine, note
from ctiqa_node.errors import ConfigError, CtiqaError
from ctiqa_node.health import NODE_PROCESS
from ctiqa_node.logs import get_logger
from ctiqa_node.state import StateFolder

log = get_logger(__name__)

_SIGNS = {Mark.OK: ("✓", "green"), Mark.NOTE: ("•", "yellow"), Mark.FAILED: ("✗", "bold red")}

Look = Callable[[], Iterator[Finding]]


class Examination(BaseModel):
    """What was looked at, and whether all is well."""

    well: bool
    findings: list[Finding]


def doctor(
    context: typer.Context,
    as_json: AsJson = False,
    quick: Annotated[bool, typer.Option("--quick", help="Leave the models out: no device, no golden series.")] = False,
    send_test: Annotated[
        bool, typer.Option("--send-test", help="Send each destination a small test object, and look for it by C-FIND.")
    ] = False,
) -> None:
    """Examine everything that the node needs, and say what to do where something is wrong.

    Configuration, peers, certificates, port, clock, disk, open files, database, weights, device, the golden series, and
    each destination. Works beside a running node and without one; run it as the node's user or root.

    \b
    Examples:
      ctiqa-node doctor
      ctiqa-node doctor --quick
      ctiqa-node doctor --send-test        leaves a test patient, CTIQA-TEST, in the archives
      ctiqa-node doctor --json | jq '.findings[] | select(.mark == "failed")'

    Exit codes: 0 all is well, 1 something is wrong (each such line says what to do).
    """
    findings: list[Finding] = []
    with ExitStack() as stack:
        err = console.err()
        columns = (SpinnerColumn(), TextColumn("Looking at {task.description}"))
        progress = stack.enter_context(Progress(*columns, console=err, transient=True, disable=not err.is_terminal))
        task = progress.add_task("the configuration")
        config = _configuration(context, findings)
        for name, look in _looks(config, quick=quick, send_test=send_test) if config is not None else ():
            progress.update(task, description=name)
            findings.extend(_guarded(name, look))
    examination = Examination(well=all(each.mark is not Mark.FAILED for each in findings), findings=findings)
    if as_json:
        console.print_json(examination)
    else:
        _show(examination)
    raise typer.Exit(0 if examination.well else 1)


def _configuration(context: typer.Context, findings: list[Finding]) -> Config | None:
    from ctiqa_node.analysis import require_known
    from ctiqa_node.dimse import sop_classes, tls

    source = find_config(named_file(context))
    try:
        config = load_config(named_file(context))
        require_known(config.worker.assessors)
        sop_classes.require_known(config.peers)
        tls.require_usable(config)
    except ConfigError as error:
        findings.append(failed("configuration", str(error), "mend it, and look again: the rest depends on it"))
        return None
    quiet_logs(config)
    findings.append(
        fine("configuration", f"can be used; read from {source or 'built-in defaults'} and the environment")
    )
    return config


def _looks(config: Config, *, quick: bool, send_test: bool) -> Iterator[tuple[str, Look]]:
    from ctiqa_node.doctor import certificates, destinations, machine, models, state  # bring pynetdicom

    folder = StateFolder(config.node.state_dir)
    yield "peers", lambda: iter((state.peers(config),))
    yield "certificates", lambda: certificates.certificates(config)
    yield "the port", lambda: _port(config, folder)
    yield "the clock", lambda: _with_session(folder, machine.clock)
    yield "the disk", lambda: machine.disk(config)
    yield "open files", lambda: _open_files(config, folder)
    yield "the database", lambda: state.database(folder)
    yield "the weights", lambda: models.weights(config)
    if quick:
        yield "the models", lambda: iter((note("golden", "not looked at (--quick)"),))
    else:
        yield "the golden series", lambda: models.device_and_golden(config)
    if not config.destinations:
        yield "destinations", lambda: iter((note("destinations", "none: results stay here", "name one"),))
    for each in config.destinations:
        yield each.name, partial(destinations.destination, config, each, send_test=send_test)
    if not isinstance(config.completeness.archive, str | None):
        yield "archive", partial(destinations.queried_archive, config, config.completeness.archive)


def _port(config: Config, folder: StateFolder) -> Iterator[Finding]:
    from ctiqa_node.doctor import machine, state

    yield (
        state.running_node(config, this_node(config)) if folder.is_locked() else machine.port_to_listen_on(config.node)
    )


def _open_files(config: Config, folder: StateFolder) -> Iterator[Finding]:
    from ctiqa_node.doctor import machine

    def look(session: Session | None) -> Iterator[Finding]:
        pulse = session.get(Heartbeat, NODE_PROCESS) if session is not None and folder.is_locked() else None
        yield machine.file_descriptors(config, pulse.pid if pulse is not None else None)

    return _with_session(folder, look)


def _with_session(folder: StateFolder, look: Callable[[Session | None], Iterator[Finding]]) -> Iterator[Finding]:
    """Look with the database where there is one that can be read; what ails it, its own lines say."""
    if not folder.database.exists():
        yield from look(None)
        return
    database = Database(folder.database)
    try:
        with database.read() as session:
            yield from look(session)
    except DatabaseError:
        yield from look(None)
    finally:
        database.close()


def _guarded(name: str, look: Look) -> list[Finding]:
    """A look that fails itself is a finding; the others go on."""
    try:
        return list(look())
    except CtiqaError as error:
        return [failed(name, str(error), "see the sentence")]
    except PermissionError as error:
        return [
            failed(name, f"{error.filename or error} may not be read by this user", "run as the node's user or root")
        ]
    except Exception as error:  # the top of each look: doctor must tell of everything else
        log.exception("could not be looked at", what=name)
        return [failed(name, f"could not be looked at: {type(error).__name__}: {error}", "report this as a bug")]


def _show(examination: Examination) -> None:
    table = console.table(None, "", "", "", "What to do")
    for area, group in groupby(examination.findings, key=lambda each: each.area):
        for number, each in enumerate(group):
            sign, style = _SIGNS[each.mark]
            cells = (sign, "" if number else area, each.what, each.to_do or "")
            table.add_row(*(console.plain(cell, style if cell == sign else "") for cell in cells))
    console.out().print(table)
    wrong = sum(each.mark is Mark.FAILED for each in examination.findings)
    console.say(
        "All is well." if examination.well else f"{console.counted(wrong, 'thing')} to mend.",
        style="green" if examination.well else "bold red",
    )
