"""The fit of Chest CT-IQA's score, and its calibration to a site's readers."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctiqa_models.chest_ctiqa.calibration import LEAST_SERIES, ReaderScore, calibrate
from ctiqa_models.chest_ctiqa.fit import FIT_FILE, PUBLISHED, Features, Fit, grade, load_fit, save_fit

_DAY = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def _series(count: int, seed: int = 0) -> dict[str, Features]:
    draw = np.random.default_rng(seed)
    return {
        f"1.2.{index}": Features(
            float(draw.uniform(5, 25)), float(draw.uniform(10, 60)), float(draw.uniform()), float(draw.uniform())
        )
        for index in range(count)
    }


def _read(features: dict[str, Features], fit: Fit, reader: str = "A", noise: float = 0.0) -> list[ReaderScore]:
    draw = np.random.default_rng(sum(map(ord, reader)))
    return [
        ReaderScore(name, reader, float(np.clip(fit.unclipped(one) + noise * draw.standard_normal(), 1, 10)))
        for name, one in features.items()
    ]


def test_the_published_fit_is_the_papers_sum_of_four_terms() -> None:
    assert PUBLISHED.score(Features(0, 0, 0, 0)) == pytest.approx(6.1930)
    assert PUBLISHED.score(Features(10, 30, 1, 1)) == pytest.approx(6.1930 - 0.536 - 0.768 - 0.1192 + 1.3802)


@given(st.tuples(*[st.floats(-1e6, 1e6)] * 4))
def test_a_score_never_leaves_1_to_10_and_always_has_a_grade(values: tuple[float, float, float, float]) -> None:
    score = PUBLISHED.score(Features(*values))
    assert 1 <= score <= 10
    assert grade(score) in {"bad", "general", "good"}


def test_grades_follow_the_papers_whole_numbers() -> None:
    assert [grade(score) for score in (1, 3, 3.4, 3.5, 4, 7.4, 7.5, 10)] == [
        *("bad", "bad", "bad"),
        *("general", "general", "general"),
        *("good", "good"),
    ]


@given(
    slopes=st.tuples(st.floats(-0.06, 0.06), st.floats(-0.03, 0.03), st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)),
    seed=st.integers(0, 1000),
)
def test_calibration_finds_the_coefficients_that_made_the_scores(
    slopes: tuple[float, float, float, float], seed: int
) -> None:
    truth = Fit(*slopes, intercept=5.5)  # never leaves 1–10 with these features
    features = _series(30, seed)
    found = calibrate(_read(features, truth), features)
    fit = found.fit
    assert (fit.snr, fit.brisque, fit.window, fit.exposure) == pytest.approx(slopes, abs=1e-6)
    assert fit.intercept == pytest.approx(5.5, abs=1e-6)
    assert found.cross_validated.rmse < 1e-6


def test_readers_who_disagree_are_averaged_and_their_agreement_is_told() -> None:
    features = _series(60)
    truth = Fit(exposure=2.0, snr=0.1)
    rows = [row for reader in "ABC" for row in _read(features, truth, reader, noise=0.7)]
    found = calibrate(rows, features)
    assert (found.series, found.readers) == (60, 3)
    between, held_out = found.between_readers, found.cross_validated
    assert between is not None
    assert between.plcc is not None
    assert held_out.plcc is not None
    assert 0.2 < between.plcc < held_out.plcc < 1  # the fit knows the truth better than two noisy readers each other
    assert held_out.rmse < found.published.rmse


def test_scores_of_unassessed_series_are_left_out_and_named() -> None:
    features = _series(LEAST_SERIES)
    rows = [*_read(features, PUBLISHED), ReaderScore("unknown", "A", 5.0)]
    found = calibrate(rows, features)
    assert found.without_features == ("unknown",)
    assert found.series == LEAST_SERIES


def test_too_few_series_are_refused_with_their_number() -> None:
    features = _series(LEAST_SERIES - 1)
    with pytest.raises(ValueError, match=f"{LEAST_SERIES - 1} series .* at least {LEAST_SERIES}"):
        calibrate(_read(features, PUBLISHED), features)


@pytest.mark.parametrize("score", [0.0, 11.0, float("nan")])
def test_a_score_off_the_scale_is_refused(score: float) -> None:
    features = _series(LEAST_SERIES)
    with pytest.raises(ValueError, match="from 1 to 10"):
        calibrate([*_read(features, PUBLISHED), ReaderScore("1.2.0", "B", score)], features)


def test_a_feature_that_never_changes_gets_no_weight_and_is_named() -> None:
    features = {name: replace(one, window=1.0) for name, one in _series(40).items()}
    found = calibrate(_read(features, PUBLISHED, noise=0.2), features)
    assert found.constant == ("window",)
    assert found.fit.window == 0
    assert found.cross_validated.rmse < 0.4


def test_constant_scores_give_no_correlation_but_a_fit() -> None:
    features = _series(40)
    found = calibrate([ReaderScore(name, "A", 6.0) for name in features], features)
    assert found.cross_validated.plcc is None
    assert found.fit.score(features["1.2.0"]) == pytest.approx(6.0)


def test_a_saved_fit_comes_back_with_its_day_and_its_data(tmp_path: Path) -> None:
    features = _series(40)
    found = calibrate(_read(features, Fit(exposure=2.0)), features, now=_DAY)
    save_fit(tmp_path / "models", found)
    fit = load_fit(tmp_path / "models")
    assert fit == found.fit
    assert not fit.is_published
    assert "2026-03-04" in fit.told()
    assert len(fit.data_sha256) == 64


def test_other_scores_have_another_fingerprint() -> None:
    features = _series(40)
    rows = _read(features, PUBLISHED)
    changed = [*rows[:-1], replace(rows[-1], score=9.0)]
    assert calibrate(rows, features).fit.data_sha256 != calibrate(changed, features).fit.data_sha256
    assert calibrate(rows, features).fit.data_sha256 == calibrate(rows[::-1], features).fit.data_sha256


def test_without_a_saved_fit_the_published_one_holds(tmp_path: Path) -> None:
    assert load_fit(None) is PUBLISHED
    assert load_fit(tmp_path) is PUBLISHED


@pytest.mark.parametrize("content", ["", "{}", '{"fit": {"snr": 1}}', '{"fit": []}'])
def test_a_damaged_fit_is_refused_and_not_replaced_in_silence(tmp_path: Path, content: str) -> None:
    (tmp_path / FIT_FILE).write_text(content)
    with pytest.raises(ValueError, match="calibrate"):
        load_fit(tmp_path)


def test_the_file_is_plain_json_with_the_figures(tmp_path: Path) -> None:
    features = _series(40)
    path = save_fit(tmp_path, calibrate(_read(features, PUBLISHED), features))
    kept = json.loads(path.read_text())
    assert kept["series"] == 40
    assert set(kept["cross_validated"]) == {"srcc", "plcc", "rmse"}
