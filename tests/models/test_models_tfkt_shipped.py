"""The TFKT weights that ship: what they say of phantoms, and that the catalog vouches for them."""

from __future__ import annotations

import numpy as np
import pytest

from ctiqa_models import catalog
from ctiqa_models.api import Assessment, HuVolume, ReasonCode, Status
from ctiqa_models.simulation.series import Scan, simulate_series
from ctiqa_models.tfkt.recipe import read_recipe
from ctiqa_models.tfkt.release import read_release


@pytest.fixture(scope="module")
def tfkt() -> catalog.Assessor:
    (assessor,) = catalog.assessors("cpu", ["tfkt"])
    return assessor


def _score(tfkt: catalog.Assessor, volume: HuVolume) -> float:
    assessment = tfkt.assess(volume, lambda share: None)
    assert assessment.status is Status.SCORED, assessment.reason
    return next(m.value for m in assessment.measurements if m.name == "tfkt_score" and m.slice_index is None)


def _assess(tfkt: catalog.Assessor, hu: np.ndarray) -> Assessment:
    return tfkt.assess(HuVolume(hu.astype(np.float32), (5.0, 0.75, 0.75)), lambda share: None)


def test_the_catalog_ships_what_the_recipe_made() -> None:
    release = read_release(catalog.TFKT_WEIGHTS)
    assert release.recipe == read_recipe()
    assert release.curve is not None
    assert release.ranges is not None
    assert "tfkt" in catalog.NAMES
    assert catalog.TFKT_WEIGHTS.path.stat().st_size < 24_000_000


def test_a_noisy_phantom_scores_below_a_clean_one(tfkt: catalog.Assessor) -> None:
    scores = [_score(tfkt, simulate_series(101, 1, 512, Scan(dose))) for dose in (2.0, 0.05)]
    assert scores[0] > scores[1] + 0.3


def test_what_is_no_trunk_is_not_scored(tfkt: catalog.Assessor) -> None:
    y, x = np.mgrid[:512, :512] - 256
    rng = np.random.default_rng(1)
    head = np.where(np.hypot(x, y) < 110, 35 + rng.normal(0, 4, x.shape), -1000)
    head[(np.hypot(x, y) >= 100) & (np.hypot(x, y) < 110)] = 1200
    photograph = rng.uniform(-1000, 1000, x.shape)
    for hu in (head, photograph):
        assessment = _assess(tfkt, np.stack([hu, hu]))
        assert assessment.status is Status.NOT_SCORED
        assert assessment.reason


def test_a_small_matrix_is_not_scored_for_enlarged_it_looks_smoothed(tfkt: catalog.Assessor) -> None:
    assessment = tfkt.assess(simulate_series(101, 1, 256, Scan(1.0)), lambda share: None)
    assert assessment.status is Status.NOT_SCORED
    assert assessment.reason is not None
    assert "256×256 pixels; with fewer than 448 rows" in assessment.reason
    assert assessment.reason_code is ReasonCode.SMALL_MATRIX
