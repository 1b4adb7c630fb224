"""The embedded queue: one table in SQLite. Every call works within the caller's transaction.

A job belongs to one revision of a series. Whoever finishes a job must still hold it: a worker that was given up for
dead, or whose series has moved on meanwhile, finds `hold` refusing and leaves no trace.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session

from ctiqa_node.db.columns import now
from ctiqa_node.db.states import JobState, SeriesState
from ctiqa_node.db.tables import Instance, Job, Series, UnmadeOutput
from ctiqa_node.errors import CtiqaError
from ctiqa_node.series import SeriesEvent, apply_event

ANALYSE = "analyse"
RETRY_WAIT = timedelta(seconds=5)
MEMORY_WAIT = timedelta(minutes=1)
"""Who holds the memory may need some time; the second wait is twice as long."""


class LostJob(CtiqaError):
    """The job is no longer this worker's: its series moved on, or another worker was given it."""


def enqueue(session: Session, series: Series) -> Job:
    """Queue the assessment of the series' present revision."""
    moment = now()
    job = Job(
        task=ANALYSE, series=series, revision=series.revision, state=JobState.TODO, created_at=moment, not_before=moment
    )
    session.add(job)
    return job


def claim(session: Session, worker: str) -> Job | None:
    """Take the oldest job that may start; its series is then being analysed."""
    job = session.scalars(
        select(Job).where(Job.state == JobState.TODO, Job.not_before <= now()).order_by(Job.id).limit(1)
    ).first()
    if job is None:
        return None
    job.state, job.worker, job.started_at, job.progress = JobState.DOING, worker, now(), 0.0
    job.attempts += 1
    apply_event(session, job.series, SeriesEvent.STARTED, f"attempt {job.attempts}")
    return job


def hold(session: Session, job_id: int, worker: str) -> Job:
    """The job, if the worker still has it and its series still waits for it.

    Raises:
        LostJob: it is not so; whatever was computed must be thrown away.
    """
    job = session.get_one(Job, job_id)
    if job.state is not JobState.DOING or job.worker != worker or not is_current(job):
        raise LostJob(f"Job {job_id} of series {job.series.series_instance_uid} is no longer this worker's.")
    return job


def is_current(job: Job) -> bool:
    """Whether the job's series still waits for just this job."""
    return job.series.state is SeriesState.ANALYSING and job.series.revision == job.revision


def finish(job: Job) -> None:
    """End a held job well."""
    job.state, job.finished_at, job.progress, job.error = JobState.DONE, now(), 1.0, None


def give_back(
    session: Session,
    job: Job,
    error: str,
    max_attempts: int,
    *,
    fatal: bool = False,
    wait: timedelta | None = None,
) -> None:
    """A try failed, or was interrupted: try again later, or after `max_attempts` tries give the series up.

    `wait` is for how long after the first try; after later ones it is as many times as long. None: RETRY_WAIT.
    `fatal`: it cost the worker its life, and so may the object that it was making; that one is not made again.
    """
    for unmade in session.scalars(select(UnmadeOutput).where(*_same_revision(job), UnmadeOutput.reason.is_(None))):
        if fatal:
            unmade.reason = error
        else:
            session.delete(unmade)
    if not is_current(job):
        _end(job, JobState.SUPERSEDED, error)
    elif job.attempts >= max_attempts:
        give_up(session, job, f"{error} ({job.attempts} tries)")
    else:
        job.state, job.worker, job.error = JobState.TODO, None, error
        job.not_before = now() + (RETRY_WAIT if wait is None else wait) * job.attempts
        apply_event(session, job.series, SeriesEvent.INTERRUPTED, error)


def give_up(session: Session, job: Job, error: str) -> None:
    """This input can never be assessed: the job ends as failed, and so does its series."""
    _end(job, JobState.FAILED, error)
    apply_event(session, job.series, SeriesEvent.GAVE_UP, error)


def put_back_unharmed(
    session: Session, job: Job, why: str = "the node was stopped", wait: timedelta = timedelta(0)
) -> None:
    """The node is stopping, or the disk cannot be written: the job is as it was, and the try does not count."""
    job.attempts -= 1
    give_back(session, job, why, max_attempts=job.attempts + 1)
    if job.state is JobState.TODO:
        job.not_before = now() + wait


def supersede_waiting(session: Session, series: Series) -> None:
    """The series got another instance: what waits for its old revision need not be done."""
    for job in session.scalars(select(Job).where(Job.series_id == series.id, Job.state == JobState.TODO)):
        _end(job, JobState.SUPERSEDED, "more instances arrived")


def in_work(session: Session) -> list[Job]:
    """The jobs that some worker has."""
    return list(session.scalars(select(Job).where(Job.state == JobState.DOING)))


def retry(session: Session, job: Job) -> None:
    """An admin takes a failed job up again.

    Raises:
        CtiqaError: the job has not failed, or its series has moved on, or its pixel data is gone.
    """
    if job.state is not JobState.FAILED or job.series.state is not SeriesState.FAILED:
        raise CtiqaError(
            f"Job {job.id} is {job.state} and its series {job.series.state}; only failed jobs are retried."
        )
    if job.revision != job.series.revision:
        raise CtiqaError(f"Job {job.id} is of revision {job.revision} of its series; retry the job of the newer one.")
    expired = select(Instance.id).where(Instance.series_id == job.series_id, Instance.expired_at.is_not(None))
    if session.scalars(expired.limit(1)).first() is not None:
        raise CtiqaError(f"Job {job.id}: the pixel data of its series has expired; let the series be sent again.")
    session.execute(delete(UnmadeOutput).where(*_same_revision(job)))
    job.state, job.worker, job.attempts, job.finished_at, job.not_before = JobState.TODO, None, 0, None, now()
    apply_event(session, job.series, SeriesEvent.RETRY)


def drop(session: Session, job: Job) -> None:
    """An admin takes a waiting job out of the queue, or a failed one off the list; its series is then skipped.

    Raises:
        CtiqaError: the job neither waits nor has failed.
    """
    if job.state not in {JobState.TODO, JobState.FAILED}:
        raise CtiqaError(f"Job {job.id} is {job.state}; only waiting jobs and failed ones can be dropped.")
    if job.state is JobState.FAILED and not _is_the_failure_of(job.series, job):
        raise CtiqaError(f"Job {job.id} has failed, but its series has moved on; there is nothing to drop.")
    _end(job, JobState.DROPPED, "dropped by an admin")
    apply_event(session, job.series, SeriesEvent.DROPPED, "its job was dropped by an admin")


def _is_the_failure_of(series: Series, job: Job) -> bool:
    return series.state is SeriesState.FAILED and series.revision == job.revision


def _same_revision(job: Job) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return UnmadeOutput.series_id == job.series_id, UnmadeOutput.revision == job.revision


def _end(job: Job, state: JobState, error: str) -> None:
    job.state, job.finished_at, job.error = state, now(), error
