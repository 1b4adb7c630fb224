"""The node: the only place that constructs the rooms and puts them together; start, run, stop."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import ExitStack
from types import FrameType
from typing import Any

from sqlalchemy import Select, select, update

from ctiqa_node import __version__, audit, golden
from ctiqa_node.clock import ClockWatch
from ctiqa_node.commitment.asking import Asker
from ctiqa_node.commitment.promises import Promises, release_unasked
from ctiqa_node.commitment.reporting import Reporter
from ctiqa_node.config import Config
from ctiqa_node.counting import Counting
from ctiqa_node.db.books import AuditEvent
from ctiqa_node.db.columns import now
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import AssociationOutcome
from ctiqa_node.db.tables import Association, Heartbeat, Instance
from ctiqa_node.db.upgrade import upgrade
from ctiqa_node.delivery import Courier, Stoppable, end_unknown, stop_couriers
from ctiqa_node.dimse.commitment_scp import CommitmentScp
from ctiqa_node.dimse.storage_scp import StorageScp
from ctiqa_node.errors import StateError
from ctiqa_node.health import NODE_PROCESS
from ctiqa_node.ingest import Ingest
from ctiqa_node.jobs import embedded as jobs
from ctiqa_node.ledger.backup import is_large, look_through, require_sound
from ctiqa_node.ledger.files import SWEEP_HOURS, sweep_outputs
from ctiqa_node.ledger.removal import carry_out
from ctiqa_node.ledger.retention import RETENTION_SECONDS
from ctiqa_node.ledger.rounds import BACKUP_SECONDS, LOOK_SECONDS, Rounds
from ctiqa_node.logs import get_logger
from ctiqa_node.retention import Retention
from ctiqa_node.scheduler import Scheduler, notify_systemd
from ctiqa_node.spool import Spool, Watermark
from ctiqa_node.state import NodeLock, StateFolder
from ctiqa_node.supervisor import Supervisor

log = get_logger(__name__)

HEARTBEAT_SECONDS = 2.0
WATCH_SECONDS = 1.0
SWEEP_SECONDS = 60.0
COURIER_SECONDS = 5.0
"""How long a stopping node waits for objects that are being sent."""


class Node:
    """One running node. `start` and `stop` for tests and embedding, `run` for the command line."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._folder = StateFolder(config.node.state_dir)
        self._stopping = threading.Event()
        self._damaged: str | None = None
        self._started_at = now()
        self.port = config.node.port
        """The port that is listened on, from `start` on."""
        self._cleanup = ExitStack()

    def start(self) -> None:
        """Take the lock, bring the database up, recover, listen, and start the worker.

        Raises:
            StateError: the state folder, its lock, its database or the port cannot be had; nothing is left running.
        """
        with ExitStack() as building:
            self._folder.create()
            building.enter_context(NodeLock(self._folder))
            require_sound(self._folder)
            upgrade(self._folder.database)
            self._database = Database(self._folder.database)
            building.callback(self._database.close)
            if not self._config.worker.golden_check:
                golden.forget(self._database)
            spool = self._open_spool()
            self._recover(spool)
            ClockWatch(self._config, self._database).pull_in()
            self._build(building, spool)
            self._cleanup = building.pop_all()
        notify_systemd("READY=1")
        log.info(
            "node ready", ae_title=self._config.node.ae_title, address=self._config.node.address, port=self.port,
            state=str(self._folder.root),
        )  # fmt: skip

    def _open_spool(self) -> Spool:
        try:
            return Spool(self._folder.spool, self._config.spool.min_free_mib << 20)
        except OSError as error:
            raise StateError(f"The spool {self._folder.spool} cannot be made: {error.strerror}.") from error

    def _build(self, building: ExitStack, spool: Spool) -> None:
        """Start the rooms in the order in which work flows, so that they stop in the reverse order of this list."""
        config = self._config
        self.supervisor = Supervisor(config, self._database)
        building.callback(self.supervisor.stop)
        couriers: list[Stoppable] = [
            Courier(destination, config.node.ae_title, config.delivery, self._database, self._folder.outputs)
            for destination in config.destinations
        ]
        building.callback(stop_couriers, couriers, COURIER_SECONDS)
        askers: list[Stoppable] = [
            Asker(destination, config.node.ae_title, config.delivery, self._database)
            for destination in config.destinations
            if destination.commitment
        ]
        building.callback(stop_couriers, askers, COURIER_SECONDS)
        promises = Promises(self._database, config.delivery) if askers else None
        reporter = Reporter(config, self._database, spool) if config.commitment.offered else None
        if reporter is not None:
            askers.append(reporter)
        for each in (*couriers, *askers):
            each.start()
        commitment = CommitmentScp(promises, reporter)
        counting = Counting(config, self._database)
        ingest = Ingest(self._database, spool, config.series, counting.may_close)
        scheduler = Scheduler()
        building.callback(scheduler.stop)
        rounds = Rounds(config, self._database)
        building.callback(rounds.stop)
        self._watermark = Watermark(spool, config.spool.watermark_mib)
        self._scp = scp = StorageScp(
            config.node, config.peers, self._database, ingest, config.tls, commitment, self._watermark.congestion
        )
        scp.start()
        building.callback(scp.stop)
        self.port = scp.port
        self.supervisor.start()
        scheduler.every(min(WATCH_SECONDS, config.series.quiet_seconds / 2), "quiet series", ingest.close_quiet_series)
        scheduler.every(WATCH_SECONDS, "clock", ClockWatch(config, self._database).look)
        scheduler.every(WATCH_SECONDS, "archive's count", counting.ask_due)
        scheduler.every(WATCH_SECONDS, "worker", self.supervisor.watch)
        retention = Retention(self._database, self._folder.outputs, config.outputs.keep_days)
        scheduler.every(SWEEP_SECONDS, "old results", retention.sweep)
        scheduler.every(HEARTBEAT_SECONDS, "sign of life", self._beat)
        scheduler.every(LOOK_SECONDS, "reading of the books", rounds.reconcile)
        scheduler.every(BACKUP_SECONDS, "backup", rounds.back_up)
        scheduler.every(RETENTION_SECONDS, "retention of pixel data", rounds.expire)
        scheduler.every(SWEEP_HOURS * 3600, "results without a row", rounds.sweep)
        self._beat()
        scheduler.start()

    def _recover(self, spool: Spool) -> None:
        """Put right what a killed node left behind."""
        with self._database.write() as session:
            lost = jobs.in_work(session)
            for job in lost:
                jobs.put_back_unharmed(session, job)
            session.execute(
                update(Association)
                .where(Association.outcome == AssociationOutcome.OPEN)
                .values(outcome=AssociationOutcome.LOST, closed_at=now(), detail="the node stopped")
            )
            end_unknown(session, [destination.name for destination in self._config.destinations])
            release_unasked(session, self._config.destinations)
            audit.note(session, AuditEvent.STARTED, audit.user(), {"version": __version__})
        carry_out(self._database, self._folder.root)
        with self._database.read() as session:
            claimed = set(session.scalars(claimed_files()))
        unclaimed = spool.set_aside_unclaimed(claimed)
        swept = sweep_outputs(self._database, self._folder.outputs, older_than_seconds=0)
        if lost or unclaimed or swept:
            log.warning(
                "recovered after an unclean stop", jobs_taken_up_again=len(lost), files_set_aside=unclaimed,
                results_removed=swept,
            )  # fmt: skip

    def _beat(self) -> None:
        notify_systemd("WATCHDOG=1")
        detail: dict[str, Any] = {
            "ae_title": self._config.node.ae_title,
            "address": self._config.node.address,
            "port": self.port,
            "version": __version__,
            "rejected": self._scp.rejections.summary(),
            "congestion": self._watermark.congestion(),
            "monotonic": time.monotonic(),
        }
        with self._database.write() as session:
            session.merge(
                Heartbeat(process=NODE_PROCESS, pid=os.getpid(), started_at=self._started_at, at=now(), detail=detail)
            )

    def stop(self) -> None:
        """Finish what is being received, stop the worker and the couriers; what is left waits in the database."""
        notify_systemd("STOPPING=1")
        self._cleanup.close()
        log.info("node stopped")

    def run(self) -> None:
        """Start, wait for SIGTERM or SIGINT, stop.

        Raises:
            StateError: it cannot start, or the database was found to be damaged meanwhile.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self.start()
        if is_large(self._folder):
            threading.Thread(target=self._look_through, name="soundness", daemon=True).start()
        self._stopping.wait()
        self.stop()
        if self._damaged is not None:
            raise StateError(self._damaged)

    def _look_through(self) -> None:
        self._damaged = look_through(self._folder)
        if self._damaged is not None:
            log.critical("the database is damaged; stopping", reason=self._damaged)
            self._stopping.set()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del frame
        log.info("stopping", signal=signal.Signals(number).name)
        self._stopping.set()


def claimed_files() -> Select[str]:
    """The files of the spool that rows claim."""
    return select(Instance.path).where(Instance.expired_at.is_(None))
