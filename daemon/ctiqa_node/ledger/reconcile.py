"""Reading the books: every instance that was answered with Success, every file, every piece of work.

Works beside a running node and raises no false alarm for what is being written just now: rows are compared with each
other within one transaction, and what lies on disk is looked at again before it counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ctiqa_node.config import Config
from ctiqa_node.db.books import FileRemoval, Reconciliation
from ctiqa_node.db.columns import now
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import OutputState
from ctiqa_node.db.tables import Delivery, Job, Output, Series
from ctiqa_node.ledger.account import Account, AnyRow, Fate, Findings, TroubleKind
from ctiqa_node.ledger.balance import broken_rows, purged_answers, unaccounted
from ctiqa_node.ledger.digests import Read, read_file
from ctiqa_node.ledger.files import FileReading
from ctiqa_node.ledger.instances import PAGE, InstanceReading
from ctiqa_node.ledger.work import rules
from ctiqa_node.spool import Spool
from ctiqa_node.state import StateFolder

_COUNTED = {"series": Series.id, "jobs": Job.id, "outputs": Output.id, "deliveries": Delivery.id}


class Stopped(Exception):
    """The node is stopping: what was read so far says nothing."""


def never() -> None:
    """Do not end the reading early."""


def reconcile(
    config: Config, database: Database, since: datetime | None = None, check: Callable[[], None] = never
) -> Account:
    """Read the books. Only of what was received or made at `since` or later are files read; rows always all.

    `check` is called again and again, and may raise `Stopped`.
    """
    started, folder, findings = now(), StateFolder(config.node.state_dir), Findings()
    spool = Spool(folder.spool, 0, make=False)
    with database.read() as session:
        for name, column in _COUNTED.items():
            findings.counts[name] = session.scalar(select(func.count(column))) or 0
        findings.counts["purged"] = purged_answers(session)
        findings.counts["to_be_removed"] = session.scalar(select(func.count(FileRemoval.path))) or 0
        _read_work(session, config, findings, running=folder.is_locked(), whole=since is None)
    InstanceReading(database, spool, findings, check).run(since)
    _read_outputs(database, folder, findings, since, check)
    FileReading(database, folder, findings, check).run(spool, since)
    fates = {fate: findings.fates[fate] for fate in Fate if findings.fates[fate]}
    return Account(
        started_at=started, finished_at=now(), since=since, fates=fates, troubles=findings.troubles, **findings.counts
    )


def record(database: Database, account: Account) -> None:
    """Keep the numbers of a reading of everything, for `status`."""
    with database.write() as session:
        session.add(
            Reconciliation(
                started_at=account.started_at,
                finished_at=account.finished_at,
                adds_up=account.adds_up,
                instances=account.instances,
                fates={fate.value: count for fate, count in account.fates.items()},
                files_read=account.files_read,
                bytes_read=account.bytes_read,
                troubles=account.trouble_count,
            )
        )


def _read_work(session: Session, config: Config, findings: Findings, *, running: bool, whole: bool) -> None:
    for rule in rules(session, config, running=running):
        for series_uid, name in session.execute(rule.query.execution_options(yield_per=PAGE)):
            findings.trouble(rule.kind, series_uid, rule.what.format(name), rule.to_do)
    for trouble in [*unaccounted(session), *(broken_rows(session) if whole else ())]:
        findings.trouble(trouble.kind, trouble.series_instance_uid, trouble.what, trouble.to_do)


def _read_outputs(
    database: Database, folder: StateFolder, findings: Findings, since: datetime | None, check: Callable[[], None]
) -> None:
    for row in _outputs(database, since):
        check()
        found = read_file(folder.outputs / row.path)
        findings.counts["files_read"] += not found.missing
        findings.counts["bytes_read"] += found.size
        if found.sha256 != row.sha256 and _is_still_there(database, row):
            what = f"{row.kind} of revision {row.revision}: its file {folder.outputs / row.path} {_how(found)}"
            kind = TroubleKind.MISSING if found.missing else TroubleKind.CHANGED
            to_do = "the numbers are in the database; to make it anew, let the series be sent again with another slice"
            findings.trouble(kind, row.series_instance_uid, what, to_do)


def _how(found: Read) -> str:
    if found.missing:
        return "is gone"
    return "is not what was made" if found.sha256 else f"cannot be read ({found.problem})"


def _outputs(database: Database, since: datetime | None) -> Iterator[AnyRow]:
    last = 0
    while True:
        query = (
            select(Output.id, Output.path, Output.sha256, Output.kind, Output.revision, Series.series_instance_uid)
            .join(Series, Output.series_id == Series.id)
            .where(Output.id > last, Output.state == OutputState.KEPT)
            .order_by(Output.id)
            .limit(PAGE)
        )
        if since is not None:
            query = query.where(Output.made_at >= since)
        with database.read() as session:
            page = session.execute(query).all()
        if not page:
            return
        yield from page
        last = page[-1].id


def _is_still_there(database: Database, row: AnyRow) -> bool:
    with database.read() as session:
        output = session.get(Output, row.id)
        return output is not None and output.state is OutputState.KEPT
