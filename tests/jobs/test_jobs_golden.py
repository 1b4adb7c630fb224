"""The golden series: the comparison, what a drift stops, and the shipped values themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from ctiqa_models import catalog
from ctiqa_node import golden, worker
from ctiqa_node.config import DeliverySection, Destination
from ctiqa_node.db.session import Database
from ctiqa_node.db.states import SeriesState
from ctiqa_node.delivery import Courier
from ctiqa_node.golden import Golden, GoldenResult, check, compare, forget, last_result, record, shipped, values_of
from ctiqa_node.report.content import ReportedClassification, ReportedMeasurement, ReportedModel, ReportStatus
from support.peers import Archive
from support.rows import add_output, add_series
from support.slices import KINDS, result_files

HOW_TO_MEND = "if weights or models changed on purpose, run `python -m ctiqa_node.golden`"


def _model(value: float = 2.0, *, label: str = "high", weights: str | None = "a" * 64) -> ReportedModel:
    """A model that gives one number for the series, one for its first slice, and one class."""
    return ReportedModel(
        name="tfkt", version="1", summary="", trained_on="", weights_sha256=weights, status=ReportStatus.SCORED,
        reason=None,
        measurements=(ReportedMeasurement("score", value, "1", None), ReportedMeasurement("score", 1.0, "1", 0)),
        classifications=(ReportedClassification("dose", label, 0.8), ReportedClassification("dose", "other", 0.2)),
        maps=None, unscored_slices={},
    )  # fmt: skip


def _not_scored(reason: str, weights: str | None) -> ReportedModel:
    return replace(
        _model(weights=weights), status=ReportStatus.NOT_SCORED, reason=reason, measurements=(), classifications=()
    )


GOLDEN = values_of([_model()], relative=0.02, absolute=0.005)


class FakeAnalyst:
    """Models that say what the test wants."""

    device = "cpu"

    def __init__(self, *said: ReportedModel) -> None:
        self.said: Sequence[ReportedModel] = said

    def assess_golden(self) -> list[ReportedModel]:
        return list(self.said)


@pytest.mark.parametrize("value", [2.0, 2.04, 1.96])
def test_values_within_the_tolerance_are_the_shipped_ones(value: float) -> None:
    result = compare(GOLDEN, [_model(value)], "cpu")
    assert result.ok
    assert result.sentence == "the golden series gives the shipped values on cpu (tfkt)"


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (_model(2.1), "tfkt score is 2.1 and should be 2"),
        (_model(label="low"), "tfkt dose is low and should be high"),
        (_not_scored("it is strange", "a" * 64), "tfkt gives no value: it is strange"),
        (_not_scored("its weights are missing", None), "tfkt gives no value: its weights are missing"),
    ],
    ids=["value", "class", "not scored", "unusable weights"],
)
def test_a_drift_is_told_with_what_it_is_and_should_be(found: ReportedModel, sentence: str) -> None:
    result = compare(GOLDEN, [found], "GPU")
    assert not result.ok
    assert sentence in result.sentence
    assert "on GPU" in result.sentence


def test_weights_of_the_sites_own_have_no_shipped_values() -> None:
    result = compare(GOLDEN, [_model(9.0, weights="b" * 64)], "cpu")
    assert result.ok
    assert (result.compared, result.not_compared) == ((), ("tfkt",))
    assert "the site's own: tfkt" in result.sentence


def test_many_drifts_are_told_in_short() -> None:
    result = GoldenResult(
        ok=False, device="cpu", compared=(), not_compared=(), drifts=tuple(map(str, range(9))), at=worker.now()
    )
    assert result.sentence.endswith("0; 1; 2; 3; 4; and 4 more")


@pytest.fixture
def courier(database: Database, tmp_path: Path) -> Callable[[int], Courier]:
    """courier(port): one with a report and a page to send to an archive of this port."""

    def make(port: int) -> Courier:
        outputs = result_files(tmp_path / "outputs")
        with database.write() as session:
            series = add_series(session, SeriesState.ANALYSED, revision=1)
            for kind in KINDS:
                add_output(session, series, kind, f"{kind}.dcm", outputs, ["pacs"])
        destination = Destination(name="pacs", ae_title="ARCHIVE", host="127.0.0.1", port=port)
        return Courier(destination, "CTIQA", DeliverySection(), database, outputs)

    return make


def test_after_a_drift_nothing_is_sent_until_the_values_are_right_again(
    database: Database, courier: Callable[[int], Courier]
) -> None:
    with Archive() as archive:
        sender = courier(archive.port)
        record(database, compare(GOLDEN, [_model(2.1)], "cpu"))
        assert not sender.send_due()
        assert archive.requests == []
        record(database, compare(GOLDEN, [_model()], "cpu"))
        assert sender.send_due()
        assert len(archive.kept) == 2


def test_where_nobody_checks_an_old_drift_holds_up_nothing(
    database: Database, courier: Callable[[int], Courier]
) -> None:
    with Archive() as archive:
        sender = courier(archive.port)
        record(database, compare(GOLDEN, [_model(2.1)], "cpu"))
        forget(database)
        forget(database)
        assert sender.send_due()
        assert len(archive.kept) == 2


def test_the_worker_looks_at_first_and_again_when_it_is_due(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(golden, "shipped", lambda: GOLDEN)
    monkeypatch.setattr(worker, "GOLDEN_RETRY_SECONDS", 0.0)
    analyst = FakeAnalyst(_model(2.1))
    watch = worker.GoldenWatch(database, analyst)  # type: ignore[arg-type] # as much of one as is used
    assert not watch.is_well()
    analyst.said = [_model()]
    assert watch.is_well()
    analyst.said = [_model(2.1)]
    assert watch.is_well()  # the next look is due in a day
    monkeypatch.setattr(watch, "_due", 0.0)
    assert not watch.is_well()
    with database.read() as session:
        result = last_result(session)
    assert result is not None
    assert not result.ok


def test_the_shipped_values_are_of_the_weights_that_ship() -> None:
    weights = {model.name: model.weights_sha256 for model in shipped().models}
    assert set(weights) == set(catalog.NAMES)
    for name, file in (
        ("tfkt", catalog.TFKT_WEIGHTS), ("chest_ctiqa", catalog.CHEST_CTIQA_WEIGHTS), ("n2q", catalog.N2Q_WEIGHTS)
    ):  # fmt: skip
        assert weights[name] == file.sha256, HOW_TO_MEND


def test_every_model_that_ships_scores_the_golden_series() -> None:
    assert all(model.values for model in shipped().models)


@pytest.mark.slow
def test_the_models_that_ship_give_the_shipped_values() -> None:
    from ctiqa_node.analysis import Analyst

    result = check(Analyst("cpu", None))
    assert result.ok, f"{result.sentence}; {HOW_TO_MEND}"
    assert set(result.compared) == set(catalog.NAMES)


def test_a_measure_without_weights_gives_its_shipped_values() -> None:
    from ctiqa_node.analysis import Analyst

    result = check(Analyst("cpu", ["snr", "noise_level"]))
    assert result.ok, f"{result.sentence}; {HOW_TO_MEND}"
    assert result.compared == ("snr", "noise_level")


def test_a_file_of_values_survives_being_written(tmp_path: Path) -> None:
    path = tmp_path / "golden.json"
    path.write_text(GOLDEN.model_dump_json())
    assert shipped(path) == GOLDEN
    assert isinstance(GOLDEN, Golden)
