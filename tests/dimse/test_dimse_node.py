"""The whole node in this process: it starts, refuses to start, recovers, and stops."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from ctiqa_node.arrivals import Outcome
from ctiqa_node.config import Config, Destination, OutputsSection
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import AssociationOutcome, DeliveryState, OutputKind, OutputState, SeriesState
from ctiqa_node.db.tables import Association, Delivery, Instance, Job, Output
from ctiqa_node.db.tables import Series as SeriesRow
from ctiqa_node.db.upgrade import upgrade
from ctiqa_node.errors import StateError
from ctiqa_node.jobs import embedded as jobs
from ctiqa_node.node import Node
from ctiqa_node.state import NodeLock, StateFolder
from support.peers import Archive, associated, contexts_for, store
from support.rows import add_output, add_series, add_waiting_job
from support.slices import ct_datasets, ct_files
from support.waiting import eventually


def _config(tmp_path: Path, **node: Any) -> Config:
    return Config(
        node={"address": "127.0.0.1", "port": 0, "state_dir": str(tmp_path / "state"), "shutdown_seconds": 2, **node},
        peers="any",
        series={"quiet_seconds": 0.5},
        spool={"min_free_mib": 0},
        worker={"device": "cpu", "threads": 1, "assessors": ["snr"], "golden_check": False},
    )


def _database(config: Config) -> Database:
    return Database(StateFolder(config.node.state_dir).database)


def test_a_node_starts_receives_and_stops_with_nothing_left_running(tmp_path: Path) -> None:
    config = _config(tmp_path)
    threads = set(threading.enumerate())
    node = Node(config)
    node.start()
    assert store(node.port, ct_datasets(tmp_path / "ct", 5)) == [0] * 5
    database = _database(config)
    eventually(lambda: _all(database, Job))
    worker = node.supervisor.pid
    began = time.monotonic()
    node.stop()
    assert time.monotonic() - began < 15
    assert worker is not None
    assert node.supervisor.pid is None
    assert not StateFolder(config.node.state_dir).is_locked()
    eventually(lambda: not (set(threading.enumerate()) - threads))
    assert [job.state for job in _all(database, Job)] in (["todo"], ["done"])


def test_a_port_in_use_leaves_nothing_running(tmp_path: Path) -> None:
    threads = set(threading.enumerate())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        config = _config(tmp_path, port=taken.getsockname()[1])
        with pytest.raises(StateError, match="Cannot listen"):
            Node(config).start()
    assert not StateFolder(config.node.state_dir).is_locked()
    eventually(lambda: not (set(threading.enumerate()) - threads))


def test_a_second_node_on_one_state_folder_is_refused(tmp_path: Path) -> None:
    config = _config(tmp_path)
    folder = StateFolder(config.node.state_dir)
    folder.create()
    with NodeLock(folder), pytest.raises(StateError, match="Another node is running"):
        Node(config).start()


def test_a_damaged_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    config = _config(tmp_path)
    folder = StateFolder(config.node.state_dir)
    folder.create()
    folder.database.write_bytes(b"damaged" * 1000)
    with pytest.raises(
        StateError, match=r"is damaged and cannot be used \(file is not a database\); there is no backup"
    ):
        Node(config).start()
    assert folder.database.read_bytes() == b"damaged" * 1000
    assert not folder.is_locked()


def test_a_spool_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    config = _config(tmp_path)
    folder = StateFolder(config.node.state_dir)
    folder.create()
    (folder.spool / "objects").write_text("a file where a folder should be")
    with pytest.raises(StateError, match=r"The spool .* cannot be made"):
        Node(config).start()


def test_what_a_killed_node_left_is_put_right(tmp_path: Path) -> None:
    config = _config(tmp_path)
    folder = StateFolder(config.node.state_dir)
    folder.create()
    upgrade(folder.database)
    (path,) = ct_files(folder.outputs, 1)
    database = _database(config)
    with database.write() as session:
        session.add(
            Association(
                calling_ae_title="CT", called_ae_title="CTIQA", address="", port=0, opened_at=add_series(session)
                .first_instance_at, outcome=AssociationOutcome.OPEN,
            )
        )  # fmt: skip
        add_waiting_job(session)
        assert jobs.claim(session, "dead worker") is not None
        series = add_series(session, SeriesState.ANALYSED, revision=1)
        add_output(session, series, OutputKind.SUMMARY_PAGE, path.name, folder.outputs, ("gone",))
    node = Node(config)
    (folder.spool / "incoming").mkdir(parents=True)
    (folder.spool / "incoming" / "half.part").write_bytes(b"half")
    (folder.spool / "objects" / "ab").mkdir(parents=True)
    (folder.spool / "objects" / "ab" / "ab00.dcm").write_bytes(b"without a row")
    node.start()
    try:
        (association,) = _all(database, Association)
        (delivery,) = _all(database, Delivery)
        (job,) = _all(database, Job)
        assert (association.outcome, association.detail) == (AssociationOutcome.LOST, "the node stopped")
        assert (job.state, job.attempts) == ("todo", 0)
        assert delivery.state is DeliveryState.FAILED
        assert not (folder.spool / "incoming" / "half.part").exists()
        assert (folder.spool / "unclaimed" / "ab00.dcm").read_bytes() == b"without a row"
    finally:
        node.stop()


def test_stopping_lets_the_instance_that_is_being_received_end(tmp_path: Path) -> None:
    config = _config(tmp_path)
    node = Node(config)
    node.start()
    datasets = ct_datasets(tmp_path / "ct", 2)
    with associated(node.port, contexts_for(datasets)) as association:
        assert association.send_c_store(datasets[0]).Status == 0x0000
        stopping = threading.Thread(target=node.stop)
        stopping.start()
        time.sleep(0.3)
        assert association.send_c_store(datasets[1]).Status == 0x0000
    stopping.join(25)
    assert not stopping.is_alive()
    database = _database(config)
    assert len(_all(database, Instance)) == 2
    (row,) = _all(database, Association)
    assert row.outcome is AssociationOutcome.RELEASED


@pytest.mark.slow
def test_a_series_goes_in_and_its_results_come_out(tmp_path: Path) -> None:
    with Archive() as archive:
        config = _config(tmp_path).model_copy(
            update={
                "destinations": Config(
                    destinations=[{"name": "pacs", "ae_title": "ARCHIVE", "host": "127.0.0.1", "port": archive.port}]
                ).destinations
            }
        )
        node = Node(config)
        node.start()
        try:
            store(node.port, ct_datasets(tmp_path / "ct", 5))
            database = _database(config)
            eventually(lambda: [s.state for s in _all(database, SeriesRow)] == [SeriesState.DELIVERED], 90)
            assert len(archive.kept) == 2
        finally:
            node.stop()


def test_outcomes_have_names_that_a_log_can_show() -> None:
    assert [str(outcome) for outcome in Outcome] == ["kept", "duplicate", "conflict"]


def _all(database: Database, table: Any) -> list[Any]:
    with database.read() as session:
        return list(session.scalars(select(table)))


def test_what_was_delivered_is_removed_when_the_configured_days_are_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctiqa_node.node.SWEEP_SECONDS", 0.1)
    folder = StateFolder(tmp_path / "state")
    folder.create()
    upgrade(folder.database)
    (path,) = ct_files(folder.outputs / "1", 1)
    with Archive() as archive:
        pacs = Destination(name="pacs", ae_title="ARCHIVE", host="127.0.0.1", port=archive.port)
        ours = {"destinations": (pacs,), "outputs": OutputsSection(keep_days=0)}
        config = _config(tmp_path).model_copy(update=ours)
        database = _database(config)
        with database.write() as session:
            series = add_series(session, SeriesState.ANALYSED, revision=1)
            add_output(session, series, OutputKind.SUMMARY_PAGE, f"1/{path.name}", folder.outputs, ("pacs",))
        node = Node(config)
        node.start()
        eventually(lambda: [output.state for output in _all(database, Output)] == [OutputState.REMOVED])
        node.stop()
        assert len(archive.kept) == 1
    assert not path.exists()
    assert _all(database, SeriesRow)[0].state is SeriesState.DELIVERED
