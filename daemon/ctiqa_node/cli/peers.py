"""`echo` and `send`: talk to the node, or to any Application Entity."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import BaseModel, TypeAdapter, ValidationError
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ctiqa_node.cli import console
from ctiqa_node.cli.console import AsJson
from ctiqa_node.cli.context import config_of, open_database, quiet_logs
from ctiqa_node.config import Config
from ctiqa_node.db.tables import Heartbeat
from ctiqa_node.dicom import ApplicationEntity
from ctiqa_node.health import NODE_PROCESS
from ctiqa_node.network_settings import AeTitle
from ctiqa_node.state import StateFolder

if TYPE_CHECKING:
    from ctiqa_node.dimse.tls import ClientTls

_PEER = re.compile(r"(?P<title>.+)@(?P<host>[^@]+):(?P<port>[0-9]{1,5})")
_ANY_ADDRESS = ("0.0.0.0", "::", "")  # noqa: S104  # compared with, not bound to
_TITLES: TypeAdapter[str] = TypeAdapter(AeTitle)

Calling = Annotated[str | None, typer.Option(help="The AE title to call from. Default: node.ae_title.")]


class SendSummary(BaseModel):
    """What became of the files of a folder."""

    peer: str
    sent: int
    failed: int
    not_dicom: int
    failures: dict[str, int]
    """Each reason, and how many files it met."""


def parse_peer(text: str) -> ApplicationEntity:
    """Read `AE@HOST:PORT`.

    Raises:
        typer.BadParameter: it is something else.
    """
    match = _PEER.fullmatch(text)
    if match is None or not 1 <= int(match["port"]) <= 65535:
        raise typer.BadParameter(f"{text!r} is not AE@HOST:PORT, as in PACS@10.0.0.5:104")
    return ApplicationEntity(parse_title(match["title"]), match["host"].strip("[]"), int(match["port"]))


def parse_title(text: str) -> str:
    """Check an AE title.

    Raises:
        typer.BadParameter: it is none.
    """
    try:
        return _TITLES.validate_python(text)
    except ValidationError as error:
        raise typer.BadParameter(f"{text!r}: {error.errors()[0]['msg']}") from error


def echo(
    context: typer.Context,
    peer: Annotated[str | None, typer.Argument(metavar="AE@HOST:PORT", help="Default: the node itself.")] = None,
    calling: Calling = None,
) -> None:
    """Ask an Application Entity whether it answers (C-ECHO).

    \b
    Examples:
      ctiqa-node echo                          the node of this machine
      ctiqa-node echo PACS@10.0.0.5:104        an archive

    Exit codes: 0 it answers, 1 it does not, and why.
    """
    config = config_of(context)
    quiet_logs(config)
    called = parse_peer(peer) if peer else this_node(config)
    title = parse_title(calling) if calling else config.node.ae_title
    from ctiqa_node.dimse.storage_scu import echo as c_echo  # brings pynetdicom

    tls = tls_towards(config, called, own=peer is None)
    trouble = c_echo(called, title, config.delivery.connection_timeout_seconds, tls)
    if trouble is not None:
        console.print_failure(trouble)
        raise typer.Exit(1)
    console.say(f"{called} answers.")


def send(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(exists=True, help="A folder, looked through to its depth, or one file.")],
    to: Annotated[str | None, typer.Option(metavar="AE@HOST:PORT", help="Default: the node itself.")] = None,
    calling: Calling = None,
    as_json: AsJson = False,
) -> None:
    """Send the DICOM files of a folder by C-STORE, each in its own transfer syntax.

    \b
    Examples:
      ctiqa-node send /data/chest-ct
      ctiqa-node send /data/chest-ct --to CTIQA@ct-quality.example.org:11112 --calling CT_SCANNER_1

    Exit codes: 0 every file was taken, 1 some were not (the table says why) or there was none.
    """
    config = config_of(context)
    quiet_logs(config)
    called = parse_peer(to) if to else this_node(config)
    title = parse_title(calling) if calling else config.node.ae_title
    tls = tls_towards(config, called, own=to is None)
    summary = _send(folder, called, title, config.delivery.connection_timeout_seconds, tls)
    if as_json:
        console.print_json(summary)
    else:
        _show(summary)
    if summary.failed or not summary.sent:
        raise typer.Exit(1)


def tls_towards(config: Config, called: ApplicationEntity, *, own: bool) -> ClientTls | None:
    """How the configuration says that this AE is called: our own node, or a destination."""
    from ctiqa_node.dimse.tls import destination_tls, own_node_tls

    if own:
        return own_node_tls(config.tls)
    for each in config.destinations:
        if (each.ae_title, each.host, each.port) == (called.ae_title, called.host, called.port):
            return destination_tls(each)
    return None


def _send(folder: Path, called: ApplicationEntity, calling: str, timeout: float, tls: ClientTls | None) -> SendSummary:
    from ctiqa_node.dimse.storage_scu import send as c_store  # these two bring pydicom and pynetdicom
    from ctiqa_node.folders import find_files

    found = find_files(folder)
    answers = c_store(called, calling, found.dicom, timeout, tls) if found.dicom else iter(())
    failures: Counter[str] = Counter()
    with progress_bar() as progress:
        for answer in progress.track(answers, total=len(found.dicom), description=f"Sending to {called}"):
            if not answer.ok:
                failures[answer.sentence] += 1
    failed = failures.total()
    return SendSummary(
        peer=str(called), sent=len(found.dicom) - failed, failed=failed, not_dicom=found.others, failures=dict(failures)
    )


def progress_bar() -> Progress:
    """A bar on standard error, gone when it is done; none where nobody looks."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    err = console.err()
    return Progress(*columns, console=err, transient=True, disable=not err.is_terminal)


def _show(summary: SendSummary) -> None:
    out = console.out()
    console.say(f"{console.counted(summary.sent, 'file')} sent to {summary.peer}, {summary.failed} failed.")
    if summary.not_dicom:
        out.print(f"{console.counted(summary.not_dicom, 'file')} left out: not DICOM, or a DICOMDIR.")
    if summary.failures:
        table = console.table(None, "Files", "Reason")
        for reason, count in _commonest(summary.failures.items()):
            console.row(table, count, reason)
        out.print(table)
    if not summary.sent and not summary.failed:
        console.print_failure("There is no DICOM file.")


def _commonest(failures: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    return sorted(failures, key=lambda item: -item[1])


def this_node(config: Config) -> ApplicationEntity:
    """The node of this machine: as it runs, or as it is configured."""
    title, address, port = config.node.ae_title, config.node.address, config.node.port
    if StateFolder(config.node.state_dir).is_locked():
        with open_database(config) as database, database.read() as session:
            pulse = session.get(Heartbeat, NODE_PROCESS)
        if pulse is not None:
            title, address = str(pulse.detail["ae_title"]), str(pulse.detail["address"])
            port = int(pulse.detail["port"])
    if port == 0:
        raise typer.BadParameter(
            "the node's port is free to choose (node.port is 0) and it does not run; give AE@HOST:PORT"
        )
    return ApplicationEntity(title, "127.0.0.1" if address in _ANY_ADDRESS else address, port)
