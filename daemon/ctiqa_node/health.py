"""How the node fares, read from its database and its lock: works beside a running node and without one."""

from __future__ import annotations

import os
import shutil
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel
from sqlalchemy import func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from ctiqa_node.config import Config
from ctiqa_node.db.columns import now
from ctiqa_node.db.session import Database, disk_trouble
from ctiqa_node.db.states import AssociationOutcome, JobState, OutputState, SeriesState
from ctiqa_node.db.tables import Association, Heartbeat, Job, Output, Series, UnmadeOutput
from ctiqa_node.destination_health import (
    DestinationStatus,
    destination_complaints,
    destinations_status,
    sender_complaints,
)
from ctiqa_node.golden_result import GoldenResult, last_result
from ctiqa_node.ledger.last import LastReconciliation, last_reconciliation, reconciliation_complaints
from ctiqa_node.result_values import SeriesResult
from ctiqa_node.results import latest_results
from ctiqa_node.state import StateFolder

NODE_PROCESS = "node"
WORKER_PROCESS = "worker"
State = TypeVar("State", bound=StrEnum)
SILENCE = timedelta(seconds=15)


class Verdict(IntEnum):
    """The exit code of `status`."""

    FINE = 0
    DEGRADED = 1
    DOWN = 2


class LiveAssociation(BaseModel):
    """An association that is open now."""

    calling_ae_title: str
    address: str
    opened_at: datetime
    stored: int


class WorkerStatus(BaseModel):
    """The process that assesses."""

    alive: bool
    pid: int | None = None
    device: str | None = None
    job: int | None = None
    progress: float | None = None


class RejectedCaller(BaseModel):
    """Associations that were rejected from one address for one reason, since the node started."""

    address: str
    calling_ae_title: str
    """Of the last one."""
    reason: str
    count: int
    last_at: datetime


class NodeStatus(BaseModel):
    """All that `status` shows."""

    verdict: Verdict
    complaints: list[str]
    version: str | None
    ae_title: str
    address: str
    port: int
    state_dir: str
    running_since: datetime | None
    associations: list[LiveAssociation]
    associations_rejected: int = 0
    """Since the node started."""
    rejected: list[RejectedCaller] = []
    """Who was rejected last, the last one first."""
    series: dict[str, int]
    queue_depth: int
    queue_oldest_at: datetime | None
    worker: WorkerStatus
    golden: GoldenResult | None = None
    """The last look at the golden series."""
    destinations: list[DestinationStatus]
    outputs_kept: int
    outputs_removed: int
    outputs_keep_days: float | None
    not_made: dict[str, int]
    """Of how many series' present revisions an object of each kind could not be made."""
    disk_free_mib: int
    disk_min_free_mib: int
    disk_watermark_mib: int
    """With less free space new associations are rejected."""
    last_results: list[SeriesResult]
    last_reconciliation: LastReconciliation | None = None


def node_status(config: Config) -> NodeStatus:
    """Look at everything that an admin asks for first."""
    folder = StateFolder(config.node.state_dir)
    running = folder.is_locked()
    if not folder.database.exists():
        return _never_started(config)
    database = Database(folder.database)
    try:
        with database.read() as session:
            return _status(session, config, running=running)
    finally:
        database.close()


def _free_mib(config: Config) -> int:
    """Free room where the state folder is, or will be."""
    folder = config.node.state_dir
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free >> 20


def _never_started(config: Config) -> NodeStatus:
    return NodeStatus(
        verdict=Verdict.DOWN,
        complaints=[f"no node has run on {config.node.state_dir} yet; start one with `ctiqa-node serve`"],
        version=None,
        ae_title=config.node.ae_title,
        address=config.node.address,
        port=config.node.port,
        state_dir=str(config.node.state_dir),
        running_since=None,
        associations=[],
        series={},
        queue_depth=0,
        queue_oldest_at=None,
        worker=WorkerStatus(alive=False),
        destinations=[],
        outputs_kept=0,
        outputs_removed=0,
        outputs_keep_days=config.outputs.keep_days,
        not_made={},
        disk_free_mib=_free_mib(config),
        disk_min_free_mib=config.spool.min_free_mib,
        disk_watermark_mib=config.spool.watermark_mib,
        last_results=[],
    )


def _status(session: Session, config: Config, *, running: bool) -> NodeStatus:
    node = session.get(Heartbeat, NODE_PROCESS)
    worker = _worker(session, running=running)
    destinations = destinations_status(session, config.destinations)
    free = _free_mib(config)
    series = _counts(session, Series.state)
    outputs = _counts(session, Output.state)
    waiting = select(func.count(Job.id), func.min(Job.created_at)).where(Job.state == JobState.TODO)
    queue_depth, oldest = session.execute(waiting).one()
    reconciled = last_reconciliation(session)
    golden = last_result(session)
    complaints = [
        *([f"nothing is assessed or sent: {golden.sentence}"] if golden is not None and not golden.ok else []),
        *_node_complaints(node, running=running),
        *([] if config.peers else ["no peer is configured, so nobody may send; name them under peers, or peers: any"]),
        *([] if not running or worker.alive else ["the worker gives no sign of life; see the log"]),
        *(_disk_complaints(free, config, node if running else None)),
        *(destination_complaints(destinations)),
        *(sender_complaints(session)),
        *(_failure_complaints(series.get(SeriesState.FAILED, 0))),
        *(reconciliation_complaints(reconciled)),
    ]
    drifted = golden is not None and not golden.ok
    verdict = Verdict.DOWN if not running or drifted else Verdict.DEGRADED if complaints else Verdict.FINE
    detail = node.detail if node is not None and running else {}
    rejected = detail.get("rejected", {})
    return NodeStatus(
        verdict=verdict,
        complaints=complaints,
        version=str(detail["version"]) if "version" in detail else None,
        ae_title=str(detail.get("ae_title", config.node.ae_title)),
        address=str(detail.get("address", config.node.address)),
        port=int(detail.get("port", config.node.port)),
        state_dir=str(config.node.state_dir),
        running_since=node.started_at if node is not None and running else None,
        associations=_associations(session) if running else [],
        associations_rejected=int(rejected.get("total", 0)),
        rejected=[RejectedCaller.model_validate(each) for each in rejected.get("latest", [])],
        series={state.value: count for state, count in series.items()},
        queue_depth=queue_depth,
        queue_oldest_at=oldest,
        worker=worker,
        golden=golden,
        destinations=destinations,
        outputs_kept=outputs.get(OutputState.KEPT, 0),
        outputs_removed=outputs.get(OutputState.REMOVING, 0) + outputs.get(OutputState.REMOVED, 0),
        outputs_keep_days=config.outputs.keep_days,
        not_made=_not_made(session),
        disk_free_mib=free,
        disk_min_free_mib=config.spool.min_free_mib,
        disk_watermark_mib=config.spool.watermark_mib,
        last_results=latest_results(session, 5),
        last_reconciliation=reconciled,
    )


def _associations(session: Session) -> list[LiveAssociation]:
    rows = session.scalars(select(Association).where(Association.outcome == AssociationOutcome.OPEN))
    return [
        LiveAssociation(
            calling_ae_title=row.calling_ae_title, address=row.address, opened_at=row.opened_at, stored=row.stored
        )
        for row in rows
    ]


def _worker(session: Session, *, running: bool) -> WorkerStatus:
    pulse = session.get(Heartbeat, WORKER_PROCESS)
    if pulse is None or not running or now() - pulse.at > SILENCE:
        return WorkerStatus(alive=False)
    job_id = pulse.detail.get("job")
    job = session.get(Job, int(job_id)) if job_id is not None else None
    return WorkerStatus(
        alive=True,
        pid=pulse.pid,
        device=str(pulse.detail["device"]),
        job=job.id if job else None,
        progress=job.progress if job else None,
    )


def _node_complaints(node: Heartbeat | None, *, running: bool) -> list[str]:
    if not running:
        return ["the node is not running; start it with `ctiqa-node serve` or systemctl"]
    if node is None or now() - node.at > SILENCE:
        return ["the node runs but gives no sign of life; see the log"]
    return []


def _disk_complaints(free_mib: int, config: Config, node: Heartbeat | None) -> list[str]:
    folder = config.node.state_dir
    if (trouble := _write_trouble(folder)) is not None:
        return [f"{folder} cannot be written ({trouble}): instances are refused with 0xA700 until it can"]
    if free_mib < config.spool.min_free_mib:
        return [f"only {free_mib} MiB free: instances are refused with 0xA700 (spool.min_free_mib)"]
    congestion = node.detail.get("congestion") if node is not None else None
    if congestion or free_mib < config.spool.watermark_mib:
        why = congestion or f"spool.refuse_associations_below_mib is {config.spool.watermark_mib}"
        return [f"only {free_mib} MiB free, new associations are rejected for now: {why}"]
    return []


def _write_trouble(folder: Path) -> str | None:
    """Why the disk takes no file; whether this user may write there is not the question."""
    try:
        os.close(os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o600))  # it never gets a name
    except OSError as error:
        return disk_trouble(error)
    return None


def _failure_complaints(failed: int) -> list[str]:
    return [f"{failed} series failed; `ctiqa-node results --state failed` lists them with the reason"] if failed else []


def _counts(session: Session, state: InstrumentedAttribute[State]) -> dict[State, int]:
    """How many rows are in each state, counted in the index of states."""
    return dict(session.execute(select(state, func.count()).group_by(state)).all())


def _not_made(session: Session) -> dict[str, int]:
    counts = (
        select(UnmadeOutput.kind, func.count(UnmadeOutput.id))
        .join(Series)
        .where(UnmadeOutput.revision == Series.revision, UnmadeOutput.reason.is_not(None))
        .group_by(UnmadeOutput.kind)
        .order_by(UnmadeOutput.kind)
    )
    return {kind.value: count for kind, count in session.execute(counts)}
