"""What a series costs, counted: a query too many for each instance or each series is noticed on any machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, select
from sqlalchemy.orm import Session

from ctiqa_node.config import Config, DeliverySection, NodeSection
from ctiqa_node.db.columns import now
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import DeliveryState, OutputKind, SeriesState
from ctiqa_node.db.tables import AssessmentRow, MeasurementRow, Series
from ctiqa_node.db.upgrade import upgrade
from ctiqa_node.delivery import Courier
from ctiqa_node.delivery import _due as due_deliveries
from ctiqa_node.health import node_status
from ctiqa_node.ingest import Ingest
from ctiqa_node.ledger.retention import _next_due as next_expiry
from ctiqa_node.node import claimed_files
from ctiqa_node.results import find_series, series_results
from ctiqa_node.spool import Spool
from ctiqa_node.state import StateFolder
from support.desk import Desk, to
from support.peers import Archive
from support.rows import add_delivery, add_series
from support.slices import ct_datasets, received


@contextmanager
def counted() -> Iterator[list[str]]:
    """The statements that are sent to the database meanwhile, BEGIN and COMMIT not counted."""
    seen: list[str] = []

    def note(*arguments: Any) -> None:
        if not arguments[2].startswith("BEGIN"):
            seen.append(arguments[2])

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def test_each_instance_costs_a_few_queries_and_one_commit(database: Database, tmp_path: Path) -> None:
    ingest = Ingest(database, Spool(tmp_path / "spool", 0), Config().series)
    first, *others = ct_datasets(tmp_path / "ct", 11)
    ingest.receive(received(first))
    commits: list[object] = []
    event.listen(database._engine, "commit", commits.append)
    with counted() as seen:
        for dataset in others:
            ingest.receive(received(dataset))
    assert len(seen) / len(others) <= 6, "\n".join(seen[:8])
    assert len(commits) / len(others) <= 1


def test_closing_a_series_costs_as_much_for_many_instances_as_for_few(database: Database, tmp_path: Path) -> None:
    costs = []
    for count in (5, 25):
        ingest = Ingest(database, Spool(tmp_path / f"spool{count}", 0), Config(series={"quiet_seconds": 0.01}).series)
        for dataset in ct_datasets(tmp_path / f"ct{count}", count):
            ingest.receive(received(dataset))
        database.close()
        with counted() as seen:
            while not ingest.close_quiet_series():
                seen.clear()
        costs.append(len(seen))
    assert costs[1] == costs[0] <= 8


def test_from_the_queue_to_the_archive_a_series_costs_what_its_objects_do(desk: Desk) -> None:
    with Archive() as archive:
        goal = to("pacs").model_copy(update={"ae_title": "ARCHIVE", "host": "127.0.0.1", "port": archive.port})
        desk.receive(goal)
        with counted() as worked:
            desk.work()
        courier = Courier(goal, "CTIQA", DeliverySection(), desk.database, desk.outputs)
        with counted() as sent:
            while courier.send_due():
                pass
        assert len(archive.kept) == 2
    with desk.database.read() as session:
        assert session.scalars(select(Series.state)).one() is SeriesState.DELIVERED
    assert len(worked) <= 60
    assert len(sent) <= 30


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[tuple[Database, Config]]:
    """The database of a node that may be asked for its status."""
    folder = StateFolder(tmp_path / "state")
    folder.create()
    upgrade(folder.database)
    database = Database(folder.database)
    yield database, Config(node=NodeSection(state_dir=folder.root), destinations=(to("pacs"), to("viewer")))
    database.close()


def fill(database: Database, count: int) -> None:
    """So many series with values and an object that waits to be sent, and one that is refused."""
    with database.write() as session:
        for _ in range(count):
            series = add_series(session, SeriesState.ANALYSED, revision=1)
            add_delivery(session, series, OutputKind.STRUCTURED_REPORT, DeliveryState.PENDING)
            add_delivery(session, series, OutputKind.PARAMETRIC_MAP, DeliveryState.REFUSED)
            session.add(
                AssessmentRow(
                    series=series, revision=1, model="snr", version="1", trained_on="nothing", status="scored",
                    device="cpu", seconds=0.1, assessed_at=now(),
                    measurements=[MeasurementRow(name="snr", value=1.0, unit="1")],
                )
            )  # fmt: skip


def test_status_and_results_ask_as_often_for_many_series_as_for_few(filled: tuple[Database, Config]) -> None:
    database, config = filled
    costs = []
    for more in (6, 60):
        fill(database, more)
        with counted() as status:
            node_status(config)
        with counted() as results, database.read() as session:
            assert len(series_results(session, session.scalars(select(Series)).all(), with_slices=False)) >= more
        costs.append((len(status), len(results)))
    assert costs[0] == costs[1]
    assert costs[0][0] <= 30
    assert costs[0][1] <= 11


def test_nothing_that_is_asked_often_reads_a_whole_table(filled: tuple[Database, Config]) -> None:
    database, config = filled
    fill(database, 6)
    asked: list[tuple[str, Any]] = []

    def note(*arguments: Any) -> None:
        if arguments[2].startswith("SELECT"):
            asked.append((arguments[2], arguments[3]))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        node_status(config)
        next_expiry(database, now())
        with database.read() as session:
            session.scalars(due_deliveries("pacs")).all()
            newest = select(Series).order_by(Series.last_instance_at.desc(), Series.id.desc()).limit(20)
            series_results(session, session.scalars(newest).all(), with_slices=True)
            assert find_series(session, "P1") == []
            session.scalars(claimed_files()).all()
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    with database.read() as session:
        plans = {sql: _plan(session, sql, parameters) for sql, parameters in asked}
    for sql, plan in plans.items():
        scanned = [line for line in plan if line.startswith("SCAN") and "INDEX" not in line]
        assert {line.split()[1] for line in scanned} <= READ_FROM_THEIR_END | SMALL, sql
    (due,) = [plan for sql, plan in plans.items() if "next_try_at <= ?" in sql]
    assert "INDEX pending_deliveries" in due[0]


READ_FROM_THEIR_END = {"assessments", "delivery_tries"}
"""Backwards from the newest row, and no further than needed."""
SMALL = {"unmade_outputs", "reconciliations", "heartbeats"}


def _plan(session: Session, sql: str, parameters: Any) -> list[str]:
    return [row[3] for row in session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", parameters)]
