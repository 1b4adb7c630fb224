"""The embedded queue: who gets a job, how it ends, and what becomes of its series."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from ctiqa_node.db.columns import now
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import JobState, SeriesState
from ctiqa_node.db.tables import Job, SeriesChange
from ctiqa_node.errors import CtiqaError
from ctiqa_node.jobs import embedded as jobs
from ctiqa_node.series import SeriesEvent, apply_event
from support.rows import add_waiting_job


def _add(database: Database) -> int:
    with database.write() as session:
        return add_waiting_job(session).id


def _claim(database: Database, worker: str = "w") -> int | None:
    with database.write() as session:
        job = jobs.claim(session, worker)
        return None if job is None else job.id


def _look(database: Database, job_id: int) -> tuple[JobState, SeriesState]:
    with database.read() as session:
        job = session.get_one(Job, job_id)
        return job.state, job.series.state


def _skip_wait(session: Session) -> None:
    for job in session.scalars(select(Job)):
        job.not_before = now()


def test_a_claimed_job_belongs_to_its_worker_and_its_series_is_analysed(database: Database) -> None:
    job_id = _add(database)
    assert _claim(database, "me") == job_id
    with database.read() as session:
        job = jobs.hold(session, job_id, "me")
        assert (job.attempts, job.worker, job.series.state) == (1, "me", SeriesState.ANALYSING)
        assert job.started_at is not None
    assert _claim(database) is None


def test_jobs_are_claimed_in_the_order_in_which_they_came(database: Database) -> None:
    ids = [_add(database) for _ in range(3)]
    assert [_claim(database) for _ in range(4)] == [*ids, None]


def test_each_job_has_just_one_claimer_among_many_threads(database: Database) -> None:
    ids = [_add(database) for _ in range(20)]
    claimed: list[int] = []
    start = threading.Barrier(8, timeout=30)

    def work(name: str) -> None:
        start.wait()
        while (job_id := _claim(database, name)) is not None:
            claimed.append(job_id)

    threads = [threading.Thread(target=work, args=(str(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(claimed) == ids


def test_another_worker_cannot_hold_a_job(database: Database) -> None:
    job_id = _add(database)
    _claim(database, "me")
    with database.read() as session, pytest.raises(jobs.LostJob):
        jobs.hold(session, job_id, "you")


def test_a_job_that_waits_cannot_be_held(database: Database) -> None:
    job_id = _add(database)
    with database.read() as session, pytest.raises(jobs.LostJob):
        jobs.hold(session, job_id, "me")


def test_enqueue_rolls_back_with_its_transaction(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.write() as session:  # noqa: PT012  # the transaction is what raises
        add_waiting_job(session)
        raise ZeroDivisionError
    assert _claim(database) is None


def test_a_finished_job_is_done(database: Database) -> None:
    job_id = _add(database)
    _claim(database, "me")
    with database.write() as session:
        jobs.finish(jobs.hold(session, job_id, "me"))
    with database.read() as session:
        job = session.get_one(Job, job_id)
        assert (job.state, job.progress, job.error) == (JobState.DONE, 1.0, None)
        assert job.finished_at is not None
        with pytest.raises(jobs.LostJob):
            jobs.hold(session, job_id, "me")


def test_a_failed_try_is_repeated_after_a_wait_that_grows(database: Database) -> None:
    job_id = _add(database)
    waits = []
    for attempt in (1, 2):
        assert _claim(database) == job_id
        with database.write() as session:
            job = session.get_one(Job, job_id)
            jobs.give_back(session, job, "out of memory", max_attempts=3)
            assert (job.state, job.attempts, job.worker) == (JobState.TODO, attempt, None)
            waits.append((job.not_before - now()).total_seconds())
        assert _look(database, job_id) == (JobState.TODO, SeriesState.COMPLETE)
        assert _claim(database) is None
        with database.write() as session:
            _skip_wait(session)
    assert 0 < waits[0] < waits[1]


def test_a_job_that_fails_too_often_ends_as_failed_and_so_does_its_series(database: Database) -> None:
    job_id = _add(database)
    for _ in range(3):
        with database.write() as session:
            _skip_wait(session)
        assert _claim(database) == job_id
        with database.write() as session:
            jobs.give_back(session, session.get_one(Job, job_id), "it crashed", max_attempts=3)
    assert _look(database, job_id) == (JobState.FAILED, SeriesState.FAILED)
    with database.read() as session:
        assert (
            session.get_one(Job, job_id).error == session.get_one(Job, job_id).series.reason == "it crashed (3 tries)"
        )


def test_a_job_that_can_never_work_is_given_up_at_once(database: Database) -> None:
    job_id = _add(database)
    _claim(database, "me")
    with database.write() as session:
        jobs.give_up(session, jobs.hold(session, job_id, "me"), "no Pixel Spacing")
    assert _look(database, job_id) == (JobState.FAILED, SeriesState.FAILED)


def test_a_job_that_is_put_back_unharmed_can_be_claimed_at_once_and_the_try_does_not_count(database: Database) -> None:
    job_id = _add(database)
    for _ in range(5):
        assert _claim(database) == job_id
        with database.write() as session:
            (job,) = jobs.in_work(session)
            jobs.put_back_unharmed(session, job)
        assert _look(database, job_id) == (JobState.TODO, SeriesState.COMPLETE)
    with database.read() as session:
        assert session.get_one(Job, job_id).attempts == 0


def _late_slice(database: Database, job_id: int) -> None:
    with database.write() as session:
        series = session.get_one(Job, job_id).series
        apply_event(session, series, SeriesEvent.INSTANCE)
        jobs.supersede_waiting(session, series)


@pytest.mark.parametrize("end", ["give_back", "put_back_unharmed"])
def test_a_job_whose_series_moved_on_is_superseded_however_it_ends(database: Database, end: str) -> None:
    job_id = _add(database)
    _claim(database)
    _late_slice(database, job_id)
    with database.write() as session:
        job = session.get_one(Job, job_id)
        if end == "give_back":
            jobs.give_back(session, job, "it crashed", max_attempts=3)
        else:
            jobs.put_back_unharmed(session, job)
    assert _look(database, job_id) == (JobState.SUPERSEDED, SeriesState.STALE)


def test_a_waiting_job_is_superseded_by_a_late_slice(database: Database) -> None:
    one, other = _add(database), _add(database)
    _late_slice(database, one)
    assert _look(database, one) == (JobState.SUPERSEDED, SeriesState.STALE)
    assert _look(database, other) == (JobState.TODO, SeriesState.COMPLETE)
    assert _claim(database) == other


def _fail(database: Database, job_id: int) -> None:
    assert _claim(database, "me") == job_id
    with database.write() as session:
        jobs.give_up(session, jobs.hold(session, job_id, "me"), "no")


def test_an_admin_takes_a_failed_job_up_again_with_all_its_tries(database: Database) -> None:
    job_id = _add(database)
    _fail(database, job_id)
    with database.write() as session:
        jobs.retry(session, session.get_one(Job, job_id))
    assert _look(database, job_id) == (JobState.TODO, SeriesState.COMPLETE)
    assert _claim(database) == job_id
    with database.read() as session:
        assert session.get_one(Job, job_id).attempts == 1


def test_only_failed_jobs_are_retried(database: Database) -> None:
    job_id = _add(database)
    with database.write() as session, pytest.raises(CtiqaError, match="only failed jobs are retried"):
        jobs.retry(session, session.get_one(Job, job_id))


def _fail_again_as_a_new_revision(database: Database, old: int) -> int:
    _fail(database, old)
    _late_slice(database, old)
    with database.write() as session:
        series = session.get_one(Job, old).series
        series.revision += 1
        apply_event(session, series, SeriesEvent.QUIET)
        job = jobs.enqueue(session, series)
        session.flush()
        new = job.id
    _fail(database, new)
    return new


def test_a_failed_job_of_an_older_revision_is_not_retried(database: Database) -> None:
    old = _add(database)
    new = _fail_again_as_a_new_revision(database, old)
    with database.write() as session, pytest.raises(CtiqaError, match="newer"):
        jobs.retry(session, session.get_one(Job, old))
    with database.write() as session:
        jobs.retry(session, session.get_one(Job, new))
    assert _look(database, new) == (JobState.TODO, SeriesState.COMPLETE)


def test_a_failed_job_of_an_older_revision_is_not_dropped(database: Database) -> None:
    old = _add(database)
    new = _fail_again_as_a_new_revision(database, old)
    with database.write() as session, pytest.raises(CtiqaError, match="moved on"):
        jobs.drop(session, session.get_one(Job, old))
    assert _look(database, new) == (JobState.FAILED, SeriesState.FAILED)
    with database.write() as session:
        jobs.drop(session, session.get_one(Job, new))
    assert _look(database, new) == (JobState.DROPPED, SeriesState.SKIPPED)


def test_an_admin_drops_a_waiting_job_and_its_series_is_skipped(database: Database) -> None:
    job_id = _add(database)
    with database.write() as session:
        jobs.drop(session, session.get_one(Job, job_id))
    assert _look(database, job_id) == (JobState.DROPPED, SeriesState.SKIPPED)
    assert _claim(database) is None
    with (
        database.write() as session,
        pytest.raises(CtiqaError, match="only waiting jobs and failed ones can be dropped"),
    ):
        jobs.drop(session, session.get_one(Job, job_id))


def test_a_job_in_work_cannot_be_dropped(database: Database) -> None:
    job_id = _add(database)
    _claim(database)
    with database.write() as session, pytest.raises(CtiqaError, match="doing"):
        jobs.drop(session, session.get_one(Job, job_id))


def test_the_history_tells_of_each_try(database: Database) -> None:
    job_id = _add(database)
    _claim(database)
    with database.write() as session:
        jobs.give_back(session, session.get_one(Job, job_id), "it crashed", max_attempts=2)
    with database.read() as session:
        changes = session.scalars(select(SeriesChange).order_by(SeriesChange.id)).all()
        assert [(c.event, c.from_state, c.to_state, c.detail) for c in changes] == [
            ("quiet, to be assessed", "receiving", "complete", None),
            ("assessment started", "complete", "analysing", "attempt 1"),
            ("assessment interrupted", "analysing", "complete", "it crashed"),
        ]
