"""Readers and writers of one database, in many threads and in two processes."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError, OperationalError

from ctiqa_node.db.columns import now
from ctiqa_node.db.session import Database
from ctiqa_node.db.tables import Heartbeat, SeriesChange
from ctiqa_node.db.upgrade import upgrade


@pytest.fixture
def database(tmp_path: Path) -> Database:
    upgrade(tmp_path / "ctiqa.sqlite")
    return Database(tmp_path / "ctiqa.sqlite")


def _heartbeat(name: str, at: datetime | None = None) -> Heartbeat:
    return Heartbeat(process=name, pid=0, started_at=at or now(), at=at or now())


def test_writers_in_many_threads_lose_nothing(database: Database) -> None:
    with database.write() as session:
        session.add(_heartbeat("counter"))

    def count() -> None:
        for _ in range(10):
            with database.write() as session:
                session.get_one(Heartbeat, "counter").pid += 1

    threads = [threading.Thread(target=count) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with database.read() as session:
        assert session.get_one(Heartbeat, "counter").pid == 200


def test_writers_in_two_processes_lose_nothing(database: Database) -> None:
    with database.write() as session:
        session.add(_heartbeat("counter"))
    script = (
        "import sys; from pathlib import Path\n"
        "from ctiqa_node.db.session import Database; from ctiqa_node.db.tables import Heartbeat\n"
        "database = Database(Path(sys.argv[1]))\n"
        "for _ in range(30):\n"
        "    with database.write() as session: session.get_one(Heartbeat, 'counter').pid += 1\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", script, str(database.path)]) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    with database.read() as session:
        assert session.get_one(Heartbeat, "counter").pid == 60


def test_a_reader_sees_a_snapshot_beside_a_writer(database: Database) -> None:
    with database.read() as reading:
        assert reading.scalars(select(Heartbeat)).all() == []
        with database.write() as session:
            session.add(_heartbeat("new"))
        assert reading.scalars(select(Heartbeat)).all() == []
    with database.read() as reading:
        assert len(reading.scalars(select(Heartbeat)).all()) == 1


def test_an_exception_rolls_back(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.write() as session:  # noqa: PT012  # the transaction is what raises
        session.add(_heartbeat("lost"))
        session.flush()
        raise ZeroDivisionError
    with database.read() as session:
        assert session.get(Heartbeat, "lost") is None


def test_a_reader_cannot_write_for_ever_unnoticed(database: Database) -> None:
    with database.read() as session:
        session.add(_heartbeat("lost"))
        session.flush()
    with database.read() as session:
        assert session.get(Heartbeat, "lost") is None


def test_every_commit_is_synced_and_foreign_keys_hold(database: Database) -> None:
    with database.read() as session:
        pragmas = [session.connection().exec_driver_sql(f"PRAGMA {name}").scalar() for name in (
            "journal_mode", "synchronous", "foreign_keys",
        )]  # fmt: skip
    assert pragmas == ["wal", 2, 1]
    orphan = SeriesChange(series_id=99, at=now(), event="", from_state="", to_state="")
    with pytest.raises(IntegrityError), database.write() as session:
        session.add(orphan)


def test_times_come_back_as_they_went_in_whatever_their_zone(database: Database) -> None:
    at = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    with database.write() as session:
        session.add(_heartbeat("zone", at))
    with database.read() as session:
        kept = session.get_one(Heartbeat, "zone").at
    assert kept == at
    assert kept.tzinfo is UTC


def test_more_readers_than_a_pool_holds_are_all_served(database: Database) -> None:
    ready = threading.Barrier(41, timeout=30)

    def read() -> None:
        with database.read() as session:
            session.scalars(select(Heartbeat)).all()
            ready.wait()

    threads = [threading.Thread(target=read) for _ in range(40)]
    for thread in threads:
        thread.start()
    ready.wait()
    for thread in threads:
        thread.join(30)


def test_a_lock_that_is_held_too_long_is_an_operational_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctiqa_node.db.session.BUSY_TIMEOUT_MS", 200)
    upgrade(tmp_path / "ctiqa.sqlite")
    database = Database(tmp_path / "ctiqa.sqlite")
    blocker = sqlite3.connect(database.path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(OperationalError, match="locked"), database.write() as session:
        session.get(Heartbeat, "any")
    blocker.execute("ROLLBACK")
    with database.write() as session:
        session.add(_heartbeat("after"))


def test_connections_that_became_read_only_are_opened_anew(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctiqa_node.db.session.REOPEN_SECONDS", 0.0)

    def write() -> None:
        with database.write() as session:
            session.merge(_heartbeat("node"))

    write()
    for connection in _idle_connections(database):
        connection.execute("PRAGMA query_only = ON")  # as of a read-only disk
    with pytest.raises(OperationalError, match="attempt to write a readonly database"):
        write()
    write()
    assert database._users == 0


def test_connections_are_not_opened_anew_for_an_error_of_another_kind(database: Database) -> None:
    with database.read() as session, pytest.raises(OperationalError):
        session.connection().exec_driver_sql("SELECT * FROM missing")
    before = _idle_connections(database)
    with database.read() as session:
        session.connection()
    assert _idle_connections(database) == before
    assert before


def _idle_connections(database: Database) -> list[sqlite3.Connection]:
    pool = database._engine.pool
    records = list(pool._pool.queue)  # type: ignore[attr-defined]  # what nobody uses just now
    return [record.dbapi_connection for record in records]
