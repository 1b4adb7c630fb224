"""`calibrate`: readers' scores in, coefficients out."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from cli_state import ASSESSED, TOO_SHORT, Run
from sqlalchemy import select

from ctiqa_models.chest_ctiqa.fit import Features, Fit, load_fit
from ctiqa_models.chest_ctiqa.labels import Window
from ctiqa_models.chest_ctiqa.scanner import Exposure
from ctiqa_node.db.columns import now
from ctiqa_node.db.session import Database
from ctiqa_node.db.tables import AssessmentRow, ClassificationRow, MeasurementRow, Series
from ctiqa_node.state import StateFolder

TRUE_FIT = Fit(snr=0.3, brisque=-0.05, window=0.5, exposure=1.5, intercept=3.0)
SERIES = [f"2.25.77{index:03d}" for index in range(30)]


def features_of(index: int) -> Features:
    generator = np.random.default_rng(index)
    return Features(
        snr=float(generator.uniform(2, 14)),
        brisque=float(generator.uniform(10, 50)),
        window=float(generator.uniform(0, 1)),
        exposure=float(generator.uniform(0, 1)),
    )


@pytest.fixture
def assessed(state: StateFolder) -> StateFolder:
    """Thirty series more, as Chest CT-IQA leaves them in the database, and one that it did not score."""
    database = Database(state.database)
    with database.write() as session:
        template = session.scalars(select(Series).where(Series.series_instance_uid == ASSESSED)).one()
        kept = {
            column.name: getattr(template, column.name)
            for column in Series.__table__.columns
            if column.name not in ("id", "series_instance_uid")
        }
        for index, uid in enumerate(SERIES):
            series = Series(**kept, series_instance_uid=uid)
            session.add(series)
            one = features_of(index)
            row = AssessmentRow(
                series=series, revision=1, model="chest_ctiqa", version="1", weights_sha256="0" * 64,
                trained_on="phantoms", status="scored", reason=None, device="cpu", seconds=1.0, assessed_at=now(),
                measurements=[
                    MeasurementRow(name="chest_ctiqa_score", value=5.0, unit="1"),
                    MeasurementRow(name="chest_ctiqa_snr", value=one.snr, unit="1"),
                    MeasurementRow(name="chest_ctiqa_brisque", value=one.brisque, unit="1"),
                ],
                classifications=[
                    ClassificationRow(name=name, label=label, probability=probability)
                    for name, label, probability in (
                        ("chest_ctiqa_window", Window.SOFT_TISSUE.words, one.window),
                        ("chest_ctiqa_window", Window.LUNG.words, 1 - one.window),
                        ("chest_ctiqa_exposure", Exposure.MAS_50.words, one.exposure),
                        ("chest_ctiqa_exposure", Exposure.MAS_30.words, 1 - one.exposure),
                    )
                ],
            )  # fmt: skip
            session.add(row)
        session.add(
            AssessmentRow(
                series=template, revision=1, model="chest_ctiqa", version="1", weights_sha256="0" * 64,
                trained_on="phantoms", status="not_scored", reason="it shows no chest", device="cpu", seconds=1.0,
                assessed_at=now(),
            )
        )  # fmt: skip
    database.close()
    return state


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    """Two readers: the true score, and that with an error of their own."""
    lines = ["series,reader,score"]
    for index, uid in enumerate(SERIES):
        score = TRUE_FIT.score(features_of(index))
        error = float(np.random.default_rng(1000 + index).normal(0, 0.3))
        lines += [f"{uid},MK,{score:.4f}", f"{uid},TS,{min(max(score + error, 1), 10):.4f}"]
    file = tmp_path / "scores.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.mark.usefixtures("assessed")
def test_a_fit_is_found_shown_and_stored_where_the_node_looks(run: Run, scores: Path, tmp_path: Path) -> None:
    done = run("calibrate", str(scores), "--json")
    assert done.exit_code == 0, done.stderr
    result = done.json
    assert (result["series"], result["readers"]) == (30, 2)
    assert result["coefficients"]["exposure"] == pytest.approx(TRUE_FIT.exposure, abs=0.3)
    assert result["coefficients"]["snr"] == pytest.approx(TRUE_FIT.snr, abs=0.03)
    assert result["cross_validated"]["srcc"] > 0.97 > result["published"]["srcc"]
    assert result["between_readers"]["rmse"] == pytest.approx(0.3, abs=0.1)
    assert result["published_coefficients"]["exposure"] == 1.3802
    stored = load_fit(tmp_path / "state" / "models")
    assert stored.exposure == result["coefficients"]["exposure"]
    assert stored.data_sha256 == result["data_sha256"]
    assert stored.fitted_at == result["fitted_at"]


@pytest.mark.usefixtures("assessed")
def test_a_dry_run_shows_everything_and_stores_nothing(run: Run, scores: Path, tmp_path: Path) -> None:
    scores.write_text(scores.read_text() + f"{ASSESSED},MK,4\n{TOO_SHORT},MK,4\n")
    done = run("calibrate", str(scores), "--dry-run")
    assert done.exit_code == 0, done.stderr
    for text in (
        "30 series", "cross-validated in 5 parts", "between readers", "1.3802", "Not stored.",
        f"{ASSESSED} was left out: it shows no chest.",
        f"{TOO_SHORT} was left out: not assessed by chest_ctiqa.",
    ):  # fmt: skip
        assert text in done.stdout
    assert load_fit(tmp_path / "state" / "models").is_published


@pytest.mark.usefixtures("assessed")
@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("series,score\n2.25.77000,5", "must have exactly the columns series, reader, score"),
        ("series,reader,score,notes\n2.25.77000,MK,5,x", "found: series, reader, score, notes"),
        ("series,reader,score\n2.25.77000,MK,11", "line 2: the score '11' is no number from 1 to 10"),
        ("series,reader,score\n2.25.77000,MK,0.5", "the score '0.5' is no number"),
        ("series,reader,score\n2.25.77000,MK,good", "the score 'good' is no number"),
        ("series,reader,score\n2.25.77000,,5", "line 2: the reader is not named"),
        ("series,reader,score\n2.25.77000,MK", "line 2: there must be exactly 3 values"),
        ("series,reader,score\nACC-1,MK,5", "'ACC-1' is no Series Instance UID"),
        ("series,reader,score\n2.25.9,MK,5", "has not received these series: 2.25.9"),
        ("series,reader,score\n2.25.77000,MK,5\n2.25.77001,MK,6", "2 series have both"),
        ("series,reader,score\n", "holds no scores"),
    ],
)
def test_scores_that_cannot_be_used_are_named(run: Run, tmp_path: Path, content: str, complaint: str) -> None:
    file = tmp_path / "scores.csv"
    file.write_text(content)
    refused = run("calibrate", str(file))
    assert refused.exit_code == 1
    assert complaint in refused.stderr
    assert not (tmp_path / "state" / "models" / "chest_ctiqa_fit.json").exists()


@pytest.mark.usefixtures("assessed")
def test_a_table_from_a_spreadsheet_in_german_is_read(run: Run, scores: Path) -> None:
    text = scores.read_text().replace(",", ";").replace("reader", " Reader ")
    scores.write_text("\ufeff" + re.sub(r"(\d)\.(\d{4})$", r"\1,\2", text, flags=re.MULTILINE), encoding="utf-8")
    assert run("calibrate", str(scores), "--dry-run", "--json").json["series"] == 30


def test_without_a_database_the_node_is_named(run: Run, scores: Path) -> None:
    refused = run("calibrate", str(scores))
    assert refused.exit_code == 2
    assert "No node has run" in refused.stderr
    assert "Traceback" not in refused.stderr
