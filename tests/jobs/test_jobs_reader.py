"""What the structured report holds, read without our code, is what `results --json` says; and revisions follow on."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from sqlalchemy import select

from ctiqa_node.analysis import Analyst, Assessed
from ctiqa_node.config import Config, ReportSection
from ctiqa_node.ct.volume import CtVolume
from ctiqa_node.ct.writer import SeriesTags
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import OutputKind
from ctiqa_node.db.tables import Output, Series
from ctiqa_node.ingest import Ingest
from ctiqa_node.jobs import embedded as jobs
from ctiqa_node.report.content import ReportedClassification, ReportedMeasurement, ReportedModel, ReportStatus
from ctiqa_node.report.source import plain
from ctiqa_node.report.verdicts import NotScoredReason
from ctiqa_node.results import series_result
from ctiqa_node.spool import Spool
from ctiqa_node.tasks import Assessing
from support import sr_reader
from support.slices import ct_datasets, received
from support.sr_reader import ReadReport, read_report, read_vocabulary
from support.waiting import eventually

PAGE = Path(__file__).resolve().parents[2] / "docs" / "codes.md"
TAGS = SeriesTags(study_uid="1.2.3", series_uid="1.2.3.4", series_description="Chest", convolution_kernel="B31f")


def _model(name: str, measurements: Sequence[ReportedMeasurement] = (), **more: Any) -> ReportedModel:
    status = ReportStatus.NOT_SCORED if "reason" in more else ReportStatus.SCORED
    return ReportedModel(
        name=name, version=f"{name} v3", summary=f"What {name} computes.", trained_on="phantoms – σ", status=status,
        measurements=tuple(measurements), **more,
    )  # fmt: skip


class Scripted(Analyst):
    """Says what six models could have said, in no time; the shipped ones need a trunk of 512×512 and minutes."""

    def __init__(self) -> None:
        self.device = "cpu"

    def assess(self, volume: CtVolume, progress: Callable[[float], None], attempt: int) -> list[Assessed]:
        count = len(volume.sources)
        random = np.random.default_rng(7)
        scores = random.uniform(0, 4, count).tolist()
        quality = random.uniform(0.5, 1, count).tolist()
        per_slice = [ReportedMeasurement("tfkt_score", value, "1", z) for z, value in enumerate(scores) if z != 2]
        said = (
            _model(
                "tfkt",
                [ReportedMeasurement("tfkt_score", float(np.mean(scores)), "1"),
                 ReportedMeasurement("tfkt_minimum", min(scores), "1"), *per_slice],
                weights_sha256="ab" * 32, unscored_slices={2: "no body was found in the slice"},
            ),
            _model(
                "n2q",
                [ReportedMeasurement("n2q_quality", 1 / 3, "1"),
                 *(ReportedMeasurement("n2q_quality", value, "1", z) for z, value in enumerate(quality))],
                weights_sha256="cd" * 32,
                classifications=tuple(
                    ReportedClassification("n2q_dose", label, share)
                    for label, share in (("25 %", 2 / 3), ("10 %", 2 / 9), ("5 %", 1 / 9))
                ),
                maps=np.full((count, 8, 8), 128, dtype=np.uint8),
            ),
            _model(
                "chest_ctiqa",
                [ReportedMeasurement("chest_ctiqa_score", 6.3, "1")],
                weights_sha256="ef" * 32,
                classifications=(
                    ReportedClassification("chest_ctiqa_window", "lung", 0.88),
                    ReportedClassification("chest_ctiqa_window", "soft tissue", 0.12),
                    ReportedClassification("chest_ctiqa_grade", "general", 1.0),
                ),
            ),
            _model("noise_level", [ReportedMeasurement("noise_level", 14.237, "[hnsf'U]")]),
            _model("snr", reason="the slices are too small", reason_code=NotScoredReason.SMALL_MATRIX),
            _model("tfkt_imported", reason="µ ≠ 1", reason_code=NotScoredReason.OTHER, weights_sha256="12" * 32),
        )  # fmt: skip
        progress(1.0)
        return [Assessed(model, 0.1) for model in said]


class Node:
    """A node's reception and worker on a database of its own, without sockets."""

    def __init__(self, database: Database, folder: Path, config: Config, analyst: Analyst) -> None:
        self.database, self.outputs = database, folder / "outputs"
        self.outputs.mkdir()
        spool = Spool(folder / "spool", 0)
        self._ingest = Ingest(database, spool, config.series.model_copy(update={"quiet_seconds": 0.01}))
        self._assessing = Assessing(config, database, spool, self.outputs, analyst)

    def take(self, *datasets: Dataset) -> None:
        """Receive instances, and assess their series."""
        for dataset in datasets:
            self._ingest.receive(received(dataset))
        eventually(self._ingest.close_quiet_series)
        with self.database.write() as session:
            job = jobs.claim(session, "worker")
            assert job is not None
        self._assessing.analyse(job.id, "worker", lambda _: None)

    def reports(self) -> list[Path]:
        """The structured reports, the first revision first."""
        with self.database.read() as session:
            wanted = select(Output).where(Output.kind == OutputKind.STRUCTURED_REPORT).order_by(Output.revision)
            return [self.outputs / output.path for output in session.scalars(wanted)]

    def json(self) -> dict[str, Any]:
        """What `results --json` prints of the series."""
        with self.database.read() as session:
            result = series_result(session, session.scalars(select(Series)).one())
        found: dict[str, Any] = json.loads(result.model_dump_json())
        return found


def _read(path: Path) -> ReadReport:
    return read_report(path, read_vocabulary(PAGE))


@pytest.fixture(params=["notable", "all"])
def assessed(request: pytest.FixtureRequest, database: Database, tmp_path: Path) -> tuple[ReadReport, dict[str, Any]]:
    """A series with a gap, assessed: its report as read, and its JSON."""
    config = Config(report=ReportSection(slice_groups=request.param))
    node = Node(database, tmp_path, config, Scripted())
    datasets = ct_datasets(tmp_path / "ct", 12, tags=TAGS)
    node.take(*datasets[:7], *datasets[9:])
    (path,) = node.reports()
    return _read(path), node.json()


def test_the_reader_imports_nothing_of_the_node_and_no_highdicom() -> None:
    tree = ast.parse(Path(sr_reader.__file__).read_text())
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {module.split(".")[0] for module in modules} == {
        "__future__", "collections", "dataclasses", "pathlib", "pydicom",
    }  # fmt: skip


def test_every_value_of_the_series_is_in_the_report(assessed: tuple[ReadReport, dict[str, Any]]) -> None:
    report, told = assessed
    assert list(report.models) == [model["model"] for model in told["models"]]
    for model in told["models"]:
        read = report.models[model["model"]]
        assert (read.version, read.weights_sha256) == (model["version"], model["weights_sha256"])
        assert (read.status, read.reason_code) == (model["status"], model["reason_code"])
        assert read.reason == (None if model["reason"] is None else plain(model["reason"]))
        assert read.measurements == {m["name"]: (m["value"], m["unit"]) for m in model["measurements"]}
        assert read.quality_category == next(
            (m["quality_category"] for m in model["measurements"] if m["quality_category"]), None
        )
        if read.weights_sha256:
            assert read.trained_on == plain(model["trained_on"])
        classes: dict[str, dict[str, float]] = {}
        for one in model["classifications"]:
            classes.setdefault(one["name"], {})[one["label"]] = pytest.approx(one["probability"], abs=1e-7)
        assert read.classifications == classes
    assert report.models["tfkt"].derivations == {"tfkt_score": "Mean", "tfkt_minimum": "Minimum"}


def test_every_value_of_the_slices_that_have_groups_is_in_the_report(
    assessed: tuple[ReadReport, dict[str, Any]],
) -> None:
    report, told = assessed
    of_slices = [(model["model"], value) for model in told["models"] for value in model["slices"]]
    uid_of = {value["slice_index"]: value["sop_instance_uid"] for _, value in of_slices}
    notable = [(uid_of[n["slice_index"]], n["sentence"]) for n in told["notable_slices"]]
    assert len(notable) >= 4
    assert [(s.sop_instance_uid, s.sentence) for s in report.slices][: len(notable)] == notable
    assert len(report.slices) in (len(notable), told["slices"])
    for read in report.slices:
        here = [(model, v) for model, v in of_slices if v["sop_instance_uid"] == read.sop_instance_uid]
        assert read.values == {(model, v["name"]): (v["value"], v["unit"]) for model, v in here}
        assert read.quality_category == next((v["quality_category"] for _, v in here if v["quality_category"]), None)
        assert read.outline_points > 3


def test_with_all_groups_every_slice_is_there(database: Database, tmp_path: Path) -> None:
    node = Node(database, tmp_path, Config(report=ReportSection(slice_groups="all")), Scripted())
    node.take(*ct_datasets(tmp_path / "ct", 6, tags=TAGS))
    report = _read(node.reports()[0])
    assert len({s.sop_instance_uid for s in report.slices}) == len(report.slices) == 6


def test_what_is_known_of_the_volume_is_in_the_report(assessed: tuple[ReadReport, dict[str, Any]]) -> None:
    report, told = assessed
    assert (report.completeness, report.missing_slices) == ("gaps", 2)
    assert (told["completeness"], told["missing_slices"], told["slices"]) == ("gaps(2)", 2, 10)
    assert report.window_agreement == told["window_agreement"] == "mismatch"
    assert report.findings == [(f["code"], plain(f["sentence"])) for f in told["findings"]]
    assert [code for code, _ in report.findings] == ["uneven-gaps"]


def test_the_report_of_a_new_revision_names_the_one_before(database: Database, tmp_path: Path) -> None:
    node = Node(database, tmp_path, Config(), Analyst("cpu", ("snr",), 1))
    datasets = ct_datasets(tmp_path / "ct", 7, tags=TAGS)
    node.take(*datasets[:5])
    node.take(datasets[5])
    node.take(datasets[6])
    with database.read() as session:
        wanted = select(Output.sop_instance_uid).where(Output.kind == OutputKind.STRUCTURED_REPORT)
        uids = list(session.scalars(wanted.order_by(Output.revision)))
    assert len(set(uids)) == 3
    assert [_read(path).predecessors for path in node.reports()] == [[], [uids[0]], [uids[1]]]
    assert node.json()["completeness"] == "probable"
