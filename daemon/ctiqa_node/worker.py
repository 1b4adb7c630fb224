"""The worker: a process of its own that takes jobs from the queue and assesses.

The node starts it with `python -m ctiqa_node.worker`, hands the configuration over as the first line of standard input
and keeps that pipe open: when it closes, the node is gone, and the worker ends at once.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import uuid
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from ctiqa_node import golden
from ctiqa_node.config import Config
from ctiqa_node.db.columns import now
from ctiqa_node.db.session import Database, disk_trouble
from ctiqa_node.db.states import JobState
from ctiqa_node.db.tables import Heartbeat, Job
from ctiqa_node.errors import Rejected, RetryLater
from ctiqa_node.jobs import embedded as jobs
from ctiqa_node.logs import configure_logging, get_logger
from ctiqa_node.spool import Spool
from ctiqa_node.state import StateFolder

if TYPE_CHECKING:
    from ctiqa_node.analysis import Analyst
    from ctiqa_node.tasks import Assessing

PROCESS = "worker"
HEARTBEAT_SECONDS = 2.0
POLL_SECONDS = 0.25
DISK_WAIT = timedelta(seconds=10)
GOLDEN_SECONDS, GOLDEN_RETRY_SECONDS = 86400.0, 3600.0
NICENESS = 10
"""Reception goes before inference."""

log = get_logger(__name__)


class Pulse:
    """Tells the node that the worker lives, what it is at, and when it last got on with it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._started = now()
        self.device = "starting"
        self._job: int | None = None
        self._progress = 0.0
        self._progressed = time.monotonic()

    def begin(self, job: int | None) -> None:
        """A job begins, or none is left."""
        self._job = job
        self.progress(0.0)

    def progress(self, share: float) -> None:
        """The job got on."""
        self._progress, self._progressed = share, time.monotonic()

    def beat_forever(self) -> None:
        """Write the sign of life, again and again."""
        while True:
            try:
                self._beat()
            except OperationalError as error:
                log.warning("sign of life not written", error=str(error.orig))
            time.sleep(HEARTBEAT_SECONDS)

    def _beat(self) -> None:
        # The monotonic clock is one for all processes of a machine, and nobody sets it.
        detail: dict[str, str | int | float] = {
            "device": self.device,
            "monotonic": time.monotonic(),
            "progressed_monotonic": self._progressed,
        }
        if self._job is not None:
            detail["job"] = self._job
        with self._database.write() as session:
            session.merge(
                Heartbeat(process=PROCESS, pid=os.getpid(), started_at=self._started, at=now(), detail=detail)
            )
            if self._job is not None and (job := session.get(Job, self._job)) is not None:
                job.progress = max(job.progress, self._progress)


class GoldenWatch:
    """Assesses the golden series when it is due: at first, daily, and hourly after a drift."""

    def __init__(self, database: Database, analyst: Analyst) -> None:
        self._database = database
        self._analyst = analyst
        self._well = False
        self._due = time.monotonic()

    def is_well(self) -> bool:
        """Whether the models may assess: they gave the shipped values when they were last asked."""
        if time.monotonic() >= self._due:
            result = golden.check(self._analyst)
            golden.record(self._database, result)
            self._well = result.ok
            self._due = time.monotonic() + (GOLDEN_SECONDS if result.ok else GOLDEN_RETRY_SECONDS)
        return self._well


class Worker:
    """Takes one job after the other, for as long as the process lives."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._token = uuid.uuid4().hex
        folder = StateFolder(config.node.state_dir)
        self._database = Database(folder.database)
        self._spool = Spool(folder.spool, config.spool.min_free_mib << 20)
        self._outputs = folder.outputs
        self._models = folder.models
        self._pulse = Pulse(self._database)

    def run(self) -> None:
        """Load the models, then work for ever."""
        threading.Thread(target=self._pulse.beat_forever, name="pulse", daemon=True).start()
        assessing, analyst = self._load()
        watch = GoldenWatch(self._database, analyst) if self._config.worker.golden_check else None
        while True:
            if watch is not None and not watch.is_well():
                time.sleep(POLL_SECONDS)
                continue
            try:
                job_id = self._claim()
            except OperationalError as error:
                log.error("no job can be taken", error=str(error.orig))
                time.sleep(HEARTBEAT_SECONDS)
                continue
            if job_id is None:
                time.sleep(POLL_SECONDS)
                continue
            self._pulse.begin(job_id)
            self._work(assessing, job_id)
            self._pulse.begin(None)

    def _load(self) -> tuple[Assessing, Analyst]:
        # Imported here: torch takes seconds, in which the node already gets signs of life.
        from ctiqa_node.analysis import Analyst
        from ctiqa_node.tasks import Assessing

        settings = self._config.worker
        analyst = Analyst(settings.device, settings.assessors, settings.threads, self._models)
        self._pulse.device = analyst.device
        log.info("worker ready", device=analyst.device)
        return Assessing(self._config, self._database, self._spool, self._outputs, analyst), analyst

    def _claim(self) -> int | None:
        with self._database.read() as session:
            waiting = session.scalar(select(Job.id).where(Job.state == JobState.TODO, Job.not_before <= now()).limit(1))
        if waiting is None:
            return None
        with self._database.write() as session:
            job = jobs.claim(session, self._token)
            return None if job is None else job.id

    def _work(self, assessing: Assessing, job_id: int) -> None:
        try:
            assessing.analyse(job_id, self._token, self._pulse.progress)
        except jobs.LostJob as lost:
            log.info("result thrown away", job=job_id, reason=str(lost))
            self._end(job_id, str(lost), forever=False)
        except Rejected as rejected:
            log.warning("series cannot be assessed", job=job_id, reason=str(rejected))
            self._end(job_id, str(rejected), forever=True)
        except (RetryLater, MemoryError) as later:
            reason = str(later) if isinstance(later, RetryLater) else "memory ran out"
            log.warning("series is tried later", job=job_id, reason=reason)
            self._end(job_id, reason, forever=False, wait=jobs.MEMORY_WAIT)
        except Exception as error:  # the top of the loop: whatever one series does to a model, the next must be served
            if (trouble := disk_trouble(error)) is not None:
                self._wait_for_the_disk(job_id, trouble)
                return
            log.exception("assessment failed", job=job_id)
            self._end(job_id, f"{type(error).__name__}: {error}", forever=False)

    def _wait_for_the_disk(self, job_id: int, trouble: str) -> None:
        """No try of the series counts for a disk that cannot be written: put the job back as soon as that can be."""
        log.error("assessment put off: the disk cannot be written", job=job_id, reason=trouble)
        while True:
            self._pulse.progress(0.0)  # waiting is no stalling
            try:
                with self._database.write() as session:
                    job = session.get_one(Job, job_id)
                    if job.state is JobState.DOING and job.worker == self._token:
                        jobs.put_back_unharmed(session, job, f"the disk cannot be written: {trouble}", DISK_WAIT)
            except OperationalError:
                time.sleep(HEARTBEAT_SECONDS)
            else:
                return

    def _end(self, job_id: int, error: str, *, forever: bool, wait: timedelta | None = None) -> None:
        with self._database.write() as session:
            job = session.get_one(Job, job_id)
            if job.state is not JobState.DOING or job.worker != self._token:
                return
            if forever and jobs.is_current(job):
                jobs.give_up(session, job, error)
            else:
                jobs.give_back(session, job, error, self._config.worker.max_attempts, wait=wait)


def main() -> None:
    """Run the worker until the node that started it closes our standard input."""
    config = Config.model_validate_json(sys.stdin.readline())
    configure_logging(config.logging)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is the node's to handle
    threading.Thread(target=_end_with_the_node, name="parent", daemon=True).start()
    os.nice(NICENESS)
    _be_killed_first()
    Worker(config).run()


def _end_with_the_node() -> None:
    sys.stdin.read()
    os._exit(0)


def _be_killed_first() -> None:
    """When memory runs out, the kernel shall take the worker, not the receiver."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


if __name__ == "__main__":
    main()
