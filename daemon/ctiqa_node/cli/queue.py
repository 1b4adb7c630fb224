"""`queue`: what waits to be assessed or sent, and what an admin can do about it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Annotated

import typer
from pydantic import BaseModel
from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session, contains_eager

from ctiqa_node.cli import console
from ctiqa_node.cli.console import AsJson
from ctiqa_node.cli.context import config_of, open_database
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import OPEN_DELIVERIES, DeliveryState, JobState, OutputKind, SeriesState
from ctiqa_node.db.tables import Delivery, DeliveryTry, Job, Output, Series
from ctiqa_node.errors import CtiqaError
from ctiqa_node.jobs import embedded as jobs

_ID = re.compile(r"([JD])([0-9]+)", re.IGNORECASE)

_AT_ONCE = 500
"""So many deliveries go into one query."""

app = typer.Typer(no_args_is_help=True)


class QueueEntry(BaseModel):
    """One piece of work: the assessment of a series (J12) or the sending of an object (D5)."""

    id: str
    what: str
    state: str
    series_instance_uid: str
    accession_number: str
    revision: int
    destination: str | None
    attempts: int
    created_at: datetime
    next_try_at: datetime | None
    last_error: str | None


Ids = Annotated[list[str], typer.Argument(metavar="ID", help="As `queue ls` shows them: J12 a job, D5 a delivery.")]


@app.callback()
def group() -> None:
    """See what waits to be assessed (J…) or sent (D…), try it again, or drop it."""


@app.command()
def ls(
    context: typer.Context,
    refused: Annotated[bool, typer.Option("--refused", help="Also objects that a destination does not take.")] = False,
    as_json: AsJson = False,
) -> None:
    """List what waits, is in work, or has failed: assessments (J…) and deliveries (D…).

    A structured report that its destination does not take has failed; other objects are listed with --refused.

    \b
    Examples:
      ctiqa-node queue ls
      ctiqa-node queue ls --refused
      ctiqa-node queue ls --json | jq -r '.[] | select(.state == "failed").id'
    """
    with open_database(config_of(context)) as database, database.read() as session:
        entries = [
            *map(_job_entry, _open_jobs(session)),
            *_delivery_entries(session, _open_deliveries(session, refused=refused)),
        ]
    if as_json:
        console.print_json(entries)
    elif entries:
        _show(entries)
    else:
        console.out().print("Nothing waits, and nothing has failed.")


@app.command()
def retry(
    context: typer.Context,
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID", help="As `queue ls` shows them.")] = None,
    all_failed: Annotated[bool, typer.Option("--all-failed", help="Everything that has failed.")] = False,
    all_refused: Annotated[bool, typer.Option("--all-refused", help="All that a destination did not take.")] = False,
) -> None:
    """Try failed and refused work again, now; waiting deliveries are sent at once instead of at their next try.

    \b
    Examples:
      ctiqa-node queue retry J12 D5
      ctiqa-node queue retry --all-failed
      ctiqa-node queue retry --all-refused     an archive takes more than before

    Exit codes: 0 done, 1 something could not be taken up again, and why.
    """
    if bool(ids) == (all_failed or all_refused):
        raise typer.BadParameter("give IDs, or --all-failed, or --all-refused")
    with open_database(config_of(context), "queue retry") as database:
        wanted = ids or _ended_badly(database, failed=all_failed, refused=all_refused)
        _for_each(database, wanted, _retry_one, "will be tried again")
    if not wanted:
        console.out().print("Nothing has failed." if all_failed else "Nothing was refused.")


@app.command()
def drop(context: typer.Context, ids: Ids) -> None:
    """Take waiting work out of the queue: the series is then not assessed, or the object not sent.

    \b
    Examples:
      ctiqa-node queue drop J13
      ctiqa-node queue drop D5 D6

    Exit codes: 0 done, 1 something could not be dropped, and why.
    """
    with open_database(config_of(context), "queue drop") as database:
        _for_each(database, ids, _drop_one, "was dropped")


Action = Callable[[Session, Job | Delivery], None]


def _for_each(database: Database, ids: Sequence[str], action: Action, done: str) -> None:
    """Do it to each in a transaction of its own, so that one refusal does not undo the others."""
    failed = False
    for name in ids:
        try:
            with database.write() as session:
                action(session, _get(session, name))
        except CtiqaError as error:
            console.print_failure(str(error))
            failed = True
        else:
            console.say(f"{name.upper()} {done}.")
    if failed:
        raise typer.Exit(1)


def _get(session: Session, name: str) -> Job | Delivery:
    match = _ID.fullmatch(name)
    if match is None:
        raise CtiqaError(f"{name!r} is no ID of the queue; those are like J12 (a job) or D5 (a delivery).")
    number = int(match[2])
    found = session.get(Job, number) if match[1].upper() == "J" else session.get(Delivery, number)
    if found is None:
        raise CtiqaError(f"There is no {name.upper()}; `ctiqa-node queue ls` shows what there is.")
    return found


def _retry_one(session: Session, entry: Job | Delivery) -> None:
    if isinstance(entry, Job):
        jobs.retry(session, entry)
        return
    from ctiqa_node import delivery  # brings pynetdicom, which the other commands do without

    delivery.retry(session, entry)


def _drop_one(session: Session, entry: Job | Delivery) -> None:
    if isinstance(entry, Job):
        jobs.drop(session, entry)
        return
    from ctiqa_node import delivery  # as above

    delivery.drop(session, entry)


def _open_jobs(session: Session) -> list[Job]:
    """Jobs that wait or are in work, and failed ones whose series did not move on."""
    failed = and_(Job.state == JobState.FAILED, Series.state == SeriesState.FAILED, Job.revision == Series.revision)
    wanted = or_(Job.state.in_((JobState.TODO, JobState.DOING)), failed)
    query = select(Job).join(Job.series).options(contains_eager(Job.series))
    return list(session.scalars(query.where(wanted).order_by(Job.id)))


def _open_deliveries(session: Session, *, refused: bool) -> list[Delivery]:
    """Deliveries that wait, failed ones, and refused ones of which no newer revision took the place."""
    present = and_(Delivery.state == DeliveryState.REFUSED, Output.revision == Series.revision)
    report = Output.kind == OutputKind.STRUCTURED_REPORT
    wanted = or_(
        Delivery.state.in_((*OPEN_DELIVERIES, DeliveryState.FAILED)), present if refused else and_(present, report)
    )
    query = select(Delivery).join(Delivery.output).join(Output.series)
    query = query.options(contains_eager(Delivery.output).contains_eager(Output.series))
    return list(session.scalars(query.where(wanted).order_by(Delivery.id)))


def _ended_badly(database: Database, *, failed: bool, refused: bool) -> list[str]:
    with database.read() as session:
        ended = {DeliveryState.REFUSED, DeliveryState.FAILED} if failed else {DeliveryState.REFUSED}
        return [
            *(f"J{job.id}" for job in _open_jobs(session) if failed and job.state is JobState.FAILED),
            *(f"D{each.id}" for each in _open_deliveries(session, refused=refused) if each.state in ended),
        ]


def _job_entry(job: Job) -> QueueEntry:
    return QueueEntry(
        id=f"J{job.id}",
        what="assess",
        state=job.state.value,
        series_instance_uid=job.series.series_instance_uid,
        accession_number=job.series.accession_number,
        revision=job.revision,
        destination=None,
        attempts=job.attempts,
        created_at=job.created_at,
        next_try_at=job.not_before if job.state is JobState.TODO else None,
        last_error=job.error,
    )


def _delivery_entries(session: Session, deliveries: Sequence[Delivery]) -> Iterator[QueueEntry]:
    for start in range(0, len(deliveries), _AT_ONCE):
        some = deliveries[start : start + _AT_ONCE]
        last = (
            select(func.max(DeliveryTry.id))
            .where(DeliveryTry.delivery_id.in_([delivery.id for delivery in some]))
            .group_by(DeliveryTry.delivery_id)
        )
        answers = select(DeliveryTry.delivery_id, DeliveryTry.answer).where(DeliveryTry.id.in_(last))
        told = dict(session.execute(answers).all())
        yield from (_delivery_entry(delivery, told.get(delivery.id)) for delivery in some)


def _delivery_entry(delivery: Delivery, last_answer: str | None) -> QueueEntry:
    series = delivery.output.series
    return QueueEntry(
        id=f"D{delivery.id}",
        what=f"send {delivery.output.kind}",
        state=delivery.state.value,
        series_instance_uid=series.series_instance_uid,
        accession_number=series.accession_number,
        revision=delivery.output.revision,
        destination=delivery.destination,
        attempts=delivery.attempts,
        created_at=delivery.created_at,
        next_try_at=delivery.next_try_at if delivery.state in OPEN_DELIVERIES else None,
        last_error=last_answer,
    )


def _show(entries: Sequence[QueueEntry]) -> None:
    columns = ("ID", "What", "State", "Accession", "Queued", "Tries", "Next try", "Last trouble")
    table = console.table(None, *columns)
    for entry in entries:
        console.row(
            table,
            entry.id,
            f"{entry.what} to {entry.destination}" if entry.destination else entry.what,
            console.state_of_sending(entry.state),
            entry.accession_number or entry.series_instance_uid,
            console.age(entry.created_at),
            entry.attempts,
            entry.next_try_at and console.age(entry.next_try_at),
            entry.last_error,
        )
    console.out().print(table)
