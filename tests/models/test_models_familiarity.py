"""Familiarity: what resembles the training features passes, what does not is far away."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ctiqa_models import weights
from ctiqa_models.api import ReasonCode
from ctiqa_models.familiarity import Familiarity

SEEDS = st.integers(0, 10_000)


def _patients(rng: np.random.Generator, patients: int, slices: int, width: int) -> tuple[np.ndarray, list[str]]:
    """Correlated features whose patients differ from one another, and the patients' names."""
    mixing = rng.normal(size=(width, width)) / np.sqrt(width)
    of_patient = np.repeat(rng.normal(size=(patients, width)), slices, axis=0)
    features = (of_patient + rng.normal(size=of_patient.shape)) @ mixing * rng.uniform(0.01, 100.0, width) + 7.0
    return features.astype(np.float32), [f"P{index // slices}" for index in range(patients * slices)]


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_most_slices_of_unseen_patients_are_accepted(seed: int) -> None:
    features, groups = _patients(np.random.default_rng(seed), 60, 5, 20)
    known = Familiarity.fit(features[:200], groups[:200])
    assert float((known.distance(features[200:]) <= 1).float().mean()) >= 0.85


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, feature=st.integers(0, 19))
def test_a_feature_far_outside_is_refused_whichever_it_is(seed: int, feature: int) -> None:
    features, groups = _patients(np.random.default_rng(seed), 30, 5, 20)
    strange = features.mean(axis=0, keepdims=True)
    strange[0, feature] += 30 * features[:, feature].std()
    known = Familiarity.fit(features, groups)
    distance = float(known.distance(strange)[0])
    assert distance > 1
    assert known.objection(distance) is not None


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS)
def test_a_step_off_the_subspace_of_training_is_refused(seed: int) -> None:
    rng = np.random.default_rng(seed)
    plane, normal = np.linalg.qr(rng.normal(size=(12, 12)))[0][:3], np.linalg.qr(rng.normal(size=(12, 12)))[0][5]
    off = normal - plane.T @ (plane @ normal)
    features = rng.normal(size=(80, 3)) @ plane
    known = Familiarity.fit(features, [str(index // 4) for index in range(80)])
    assert float(known.distance(features[:1] + 5 * off / np.linalg.norm(off))[0]) > 1
    assert float(known.distance(features[:1])[0]) < 1.5


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, n=st.integers(2, 12), width=st.integers(1, 40), constant=st.booleans(), one_patient=st.booleans())
def test_few_slices_and_features_that_never_move_are_fine(
    seed: int, n: int, width: int, constant: bool, one_patient: bool
) -> None:
    rng = np.random.default_rng(seed)
    features = np.full((n, width), 3.0) if constant else np.repeat(rng.normal(size=(n, 1)), width, axis=1)
    known = Familiarity.fit(features, ["P"] * n if one_patient else [f"P{index}" for index in range(n)])
    assert bool(known.distance(features).isfinite().all())
    assert float(known.distance(features.mean(axis=0, keepdims=True))[0]) < 1
    assert float(known.distance(features[:1] + 1e4)[0]) > 1


def test_limits_come_from_patients_left_out_not_from_the_slices_that_made_the_cloud() -> None:
    features, groups = _patients(np.random.default_rng(3), 8, 10, 30)
    by_patient, by_slice = Familiarity.fit(features, groups), Familiarity.fit(features, ["P"] * 80)
    assert float(by_patient.limits[0]) > 1.2 * float(by_slice.limits[0])


def test_a_feature_that_is_no_number_is_endlessly_far() -> None:
    features, groups = _patients(np.random.default_rng(1), 10, 4, 6)
    known = Familiarity.fit(features, groups)
    assert float(known.distance(np.full((1, 6), np.nan, dtype=np.float32))[0]) == math.inf
    objection = known.objection(math.inf)
    assert objection is not None
    assert objection.sentence.startswith("to the network it is over a hundred times as unlike")
    assert objection.code is ReasonCode.UNFAMILIAR
    assert known.objection(0.7) is None


def test_what_a_weights_file_kept_measures_the_same(tmp_path: Path) -> None:
    features, groups = _patients(np.random.default_rng(2), 10, 4, 30)
    known = Familiarity.fit(features, groups)
    file = weights.save(tmp_path / "some.safetensors", known.to_tensors("familiarity."), {})
    again = Familiarity.from_tensors(weights.load(file).tensors, "familiarity.")
    assert torch.equal(again.distance(features), known.distance(features))


@pytest.mark.parametrize("features", [np.zeros((1, 3)), np.zeros((3, 3, 3)), np.full((4, 2), np.inf), np.zeros((5, 2))])
def test_features_that_do_not_fit_are_a_value_error(features: np.ndarray) -> None:
    with pytest.raises(ValueError, match="familiarity needs"):
        Familiarity.fit(features, ["P"] * (len(features) if len(features) != 5 else 4))


def test_features_of_another_width_are_a_value_error() -> None:
    features, groups = _patients(np.random.default_rng(2), 10, 4, 6)
    with pytest.raises(ValueError, match=r"\[n, 6\]"):
        Familiarity.fit(features, groups).distance(features[:, :5])
