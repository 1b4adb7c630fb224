"""What an admin sees of objects that a destination does not take, and does about them."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_state import Run, as_if_running
from sqlalchemy import select
from sqlalchemy.orm import Session

from ctiqa_node.db.session import Database
from ctiqa_node.db.states import DeliveryState, OutputKind, SeriesState
from ctiqa_node.db.tables import Delivery, Series
from ctiqa_node.db.upgrade import upgrade
from ctiqa_node.state import StateFolder
from support.rows import add_delivery, add_series

PARAMETRIC = "pacs does not take Parametric Map Storage; sends quality maps instead"
SENT, REFUSED = DeliveryState.SENT, DeliveryState.REFUSED


@pytest.fixture
def folder(config_file: Path) -> StateFolder:
    """A state folder of a node whose one destination is told as `slicer`."""
    text = config_file.read_text()
    config_file.write_text(text.replace("port: 1}", "port: 1, profile: slicer}"))
    folder = StateFolder(config_file.parent / "state")
    folder.create()
    upgrade(folder.database)
    return folder


def _deliver(folder: StateFolder, **kinds: DeliveryState) -> None:
    """One more series, whose outputs were answered so."""
    database = Database(folder.database)
    with database.write() as session:
        undelivered = kinds.get("sr") is REFUSED
        series = add_series(session, SeriesState.UNDELIVERED if undelivered else SeriesState.DELIVERED, revision=1)
        for name, state in kinds.items():
            add_delivery(session, series, OutputKind(name), state)
    database.close()


def test_what_a_destination_does_not_take_is_told_and_is_no_complaint(run: Run, folder: StateFolder) -> None:
    _deliver(folder, sr=SENT, summary=SENT, parametric_map=REFUSED, quality_maps=SENT)
    with as_if_running(folder):
        shown, told = run("status"), run("status", "--json")
    assert shown.exit_code == 0
    assert PARAMETRIC in shown.stdout
    (destination,) = told.json["destinations"]
    assert destination["does_not_take"] == [
        {
            "sop_class_uid": "1.2.840.10008.5.1.4.1.1.30", "sop_class": "Parametric Map Storage",
            "kind": "parametric_map", "sends_instead": "quality_maps",
        }
    ]  # fmt: skip
    assert (destination["refused"], destination["failed"]) == (1, 0)


def test_nothing_is_said_to_be_sent_instead_when_that_is_refused_too(run: Run, folder: StateFolder) -> None:
    _deliver(folder, sr=SENT, summary=SENT, parametric_map=REFUSED, quality_maps=REFUSED)
    with as_if_running(folder):
        shown = run("status").stdout
    assert "pacs does not take Parametric Map Storage\n" in shown
    assert "pacs does not take Multi-frame True Color Secondary Capture Image Storage\n" in shown


def test_what_was_taken_since_is_no_longer_told(run: Run, folder: StateFolder) -> None:
    _deliver(folder, sr=SENT, parametric_map=REFUSED)
    _deliver(folder, sr=SENT, parametric_map=SENT)
    with as_if_running(folder):
        assert "does not take" not in run("status").stdout


def test_what_is_switched_off_is_no_longer_told(run: Run, folder: StateFolder, config_file: Path) -> None:
    _deliver(folder, sr=SENT, parametric_map=REFUSED)
    config_file.write_text(config_file.read_text().replace("profile: slicer", "profile: generic-pacs"))
    with as_if_running(folder):
        assert "does not take" not in run("status").stdout


def test_a_refused_report_is_a_complaint_and_stands_in_the_queue(run: Run, folder: StateFolder) -> None:
    _deliver(folder, sr=REFUSED, summary=SENT)
    with as_if_running(folder):
        ran = run("status")
    assert ran.exit_code == 1
    assert "pacs does not take Comprehensive SR Storage: the structured report does not reach it" in ran.stdout
    (entry,) = run("queue", "ls", "--json").json
    assert (entry["id"], entry["what"], entry["state"]) == ("D1", "send sr", "refused")
    assert run("queue", "retry", "--all-failed").stdout == "D1 will be tried again.\n"


def test_other_refused_objects_are_listed_and_retried_when_asked_for(run: Run, folder: StateFolder) -> None:
    _deliver(folder, sr=SENT, parametric_map=REFUSED)
    assert run("queue", "ls", "--json").json == []
    assert [entry["id"] for entry in run("queue", "ls", "--refused", "--json").json] == ["D2"]
    assert "Nothing has failed" in run("queue", "retry", "--all-failed").stdout
    assert run("queue", "retry", "--all-refused").stdout == "D2 will be tried again.\n"
    assert "Nothing was refused" in run("queue", "retry", "--all-refused").stdout
    database = Database(folder.database)
    with database.read() as session:
        assert session.get_one(Delivery, 2).state is DeliveryState.PENDING
        assert session.get_one(Series, 1).state is SeriesState.ANALYSED
    database.close()


def test_failed_work_is_not_taken_up_with_the_refused(run: Run, session: Session) -> None:
    assert "Nothing was refused" in run("queue", "retry", "--all-refused").stdout
    states = session.scalars(select(Delivery.state).order_by(Delivery.id)).all()
    assert states == [DeliveryState.PENDING, DeliveryState.FAILED]


def test_ids_and_all_refused_together_are_wrong_usage(run: Run, folder: StateFolder) -> None:
    assert run("queue", "retry", "D1", "--all-refused").exit_code == 2
