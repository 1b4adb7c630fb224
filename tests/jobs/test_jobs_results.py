"""What is read back: results, the story of a series, and how the node fares."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from ctiqa_node.config import Config, Destination, NodeSection, SpoolSection
from ctiqa_node.db.columns import now
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import AssociationOutcome, DeliveryState, OutputKind, SeriesState
from ctiqa_node.db.tables import AssessmentRow, Association, Delivery, DeliveryTry, Heartbeat, MeasurementRow, Series
from ctiqa_node.health import NODE_PROCESS, WORKER_PROCESS, Verdict, node_status
from ctiqa_node.jobs import embedded as jobs
from ctiqa_node.results import find_series, latest_results, series_result
from ctiqa_node.state import NodeLock, StateFolder
from ctiqa_node.story import tell
from support.rows import add_output, add_series, add_waiting_job, new_database
from support.slices import ct_files


def _assess(session: Session, series: Series, revision: int, at: datetime, value: float = 1.0) -> None:
    session.add(
        AssessmentRow(
            series=series, revision=revision, model="snr", version="1", trained_on="nothing", status="scored",
            device="cpu", seconds=0.1, assessed_at=at,
            measurements=[
                MeasurementRow(name="snr", value=value, unit="1"),
                MeasurementRow(name="snr", value=value, unit="1", slice_index=0, sop_instance_uid="1.2"),
            ],
        )
    )  # fmt: skip
    series.revision = revision


def test_the_latest_results_are_those_assessed_last_whatever_came_first(database: Database) -> None:
    start = now() - timedelta(hours=1)
    with database.write() as session:
        series = [add_series(session, SeriesState.ANALYSED) for _ in range(4)]
        for minute, index in enumerate((0, 1, 2, 3)):
            _assess(session, series[index], 1, start + timedelta(minutes=minute))
        _assess(session, series[0], 2, start + timedelta(minutes=30), value=2.0)
        expected = [series[index].series_instance_uid for index in (0, 3)]
    with database.read() as session:
        results = latest_results(session, 2)
    assert [result.series_instance_uid for result in results] == expected
    assert [(m.value, m.unit) for m in results[0].models[0].measurements] == [(2.0, "1")]
    assert (results[0].revision, results[0].models[0].slices) == (2, [])


def test_a_series_is_found_by_whatever_a_person_has(database: Database) -> None:
    with database.write() as session:
        series, other = add_series(session), add_series(session)
        series.accession_number, series.patient_id = "A1", "P1"
        other.accession_number = "A2"
        for text in ("A1", "P1", series.series_instance_uid, series.study_instance_uid):
            assert find_series(session, text) == [series]
        assert find_series(session, "nobody") == []


def test_slices_are_told_when_asked_for(database: Database) -> None:
    with database.write() as session:
        series = add_series(session)
        _assess(session, series, 1, now())
    with database.read() as session:
        (model,) = series_result(session, session.get_one(Series, series.id)).models
    assert [(s.slice_index, s.sop_instance_uid) for s in model.slices] == [(0, "1.2")]


def test_the_story_tells_everything_in_the_order_of_time(database: Database, tmp_path: Path) -> None:
    (path,) = ct_files(tmp_path / "outputs", 1)
    with database.write() as session:
        job = add_waiting_job(session)
        jobs.claim(session, "w")
        jobs.give_back(session, job, "it crashed", max_attempts=2)
        output = add_output(session, job.series, OutputKind.SUMMARY_PAGE, path.name, path.parent, ("pacs",))
        output.deliveries[0].tries.append(DeliveryTry(at=now(), status=0xA700, answer="no room"))
    with database.read() as session:
        story = tell(session, session.get_one(Series, job.series_id))
    told = [happening.what for happening in story.happenings]
    assert [what for what in told if "→" in what] == [
        "quiet, to be assessed: receiving → complete",
        "assessment started: complete → analysing",
        "assessment interrupted: analysing → complete",
    ]
    assert told[-1] == "revision 1 summary to pacs: no room"
    assert f"job {job.id} queued for revision 1" in told
    assert all(a.at <= b.at for a, b in zip(story.happenings, story.happenings[1:], strict=False))


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(
        node=NodeSection(state_dir=tmp_path / "state"),
        peers="any",
        spool=SpoolSection(min_free_mib=0),
        destinations=(Destination(name="pacs", ae_title="P", host="h", port=1),),
    )


def _beat(session: Session, process: str, at: datetime | None = None, **detail: str | int) -> None:
    beat = Heartbeat(process=process, pid=1, started_at=now(), at=at or now(), detail=detail)
    session.merge(beat)


def _alive(session: Session) -> None:
    _beat(session, NODE_PROCESS, ae_title="CTIQA", address="127.0.0.1", port=4242, version="1")
    _beat(session, WORKER_PROCESS, device="cpu")


def test_a_node_that_never_ran_is_down(config: Config) -> None:
    status = node_status(config)
    assert status.verdict is Verdict.DOWN
    assert "no node has run" in status.complaints[0]


def test_a_node_that_runs_and_lives_is_fine_and_tells_its_port(config: Config) -> None:
    folder = StateFolder(config.node.state_dir)
    folder.create()
    database = new_database(folder.database)
    with database.write() as session:
        _alive(session)
        add_waiting_job(session)
        session.add(
            Association(
                calling_ae_title="CT1", called_ae_title="CTIQA", address="10.0.0.1", port=1, opened_at=now(),
                outcome=AssociationOutcome.OPEN,
            )
        )  # fmt: skip
    with NodeLock(folder):
        status = node_status(config)
    assert (status.verdict, status.complaints) == (Verdict.FINE, [])
    assert (status.port, status.queue_depth, status.series) == (4242, 1, {"complete": 1})
    assert [association.calling_ae_title for association in status.associations] == ["CT1"]
    assert (status.worker.alive, status.worker.device) == (True, "cpu")
    down = node_status(config)
    assert (down.verdict, down.associations) == (Verdict.DOWN, [])


@pytest.mark.parametrize(
    ("trouble", "complaint"),
    [
        ("silent worker", "the worker gives no sign of life"),
        ("silent node", "the node runs but gives no sign of life"),
        ("failed series", "1 series failed"),
        ("waiting delivery", "pacs: 1 waiting; no answer"),
        ("failed delivery", "pacs: 1 given up"),
        ("full disk", "MiB free: instances are refused with 0xA700"),
        ("little room", "MiB free, new associations are rejected for now: spool.refuse_associations_below_mib is"),
        ("little room lately", "MiB free, new associations are rejected for now: the watermark"),
    ],
)
def test_a_node_in_trouble_is_degraded_and_says_why(
    config: Config, tmp_path: Path, trouble: str, complaint: str
) -> None:
    folder = StateFolder(config.node.state_dir)
    folder.create()
    database = new_database(folder.database)
    (path,) = ct_files(tmp_path / "outputs", 1)
    long_ago = now() - timedelta(minutes=5)
    with database.write() as session:
        _alive(session)
        if trouble == "silent worker":
            _beat(session, WORKER_PROCESS, long_ago, device="cpu")
        elif trouble == "silent node":
            _beat(session, NODE_PROCESS, long_ago)
        elif trouble == "failed series":
            add_series(session, SeriesState.FAILED)
        elif trouble == "little room":
            config = config.model_copy(update={"spool": SpoolSection(refuse_associations_below_mib=1 << 40)})
        elif trouble == "little room lately":
            _beat(session, NODE_PROCESS, now(), congestion="the watermark")
        elif trouble == "full disk":
            config = config.model_copy(update={"spool": SpoolSection(min_free_mib=1 << 40)})
        else:
            series = add_series(session, SeriesState.ANALYSED, revision=1)
            output = add_output(session, series, OutputKind.SUMMARY_PAGE, path.name, path.parent, ("pacs",))
            delivery: Delivery = output.deliveries[0]
            delivery.attempts = 1
            delivery.tries.append(DeliveryTry(at=now(), answer="no answer"))
            if trouble == "failed delivery":
                delivery.state = DeliveryState.FAILED
    with NodeLock(folder):
        status = node_status(config)
    assert status.verdict is Verdict.DEGRADED
    assert any(complaint in said for said in status.complaints)
    assert len(status.complaints) == 1
