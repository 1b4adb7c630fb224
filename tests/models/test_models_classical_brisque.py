from __future__ import annotations

import hashlib
import math
import warnings
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from scipy.ndimage import gaussian_filter

from ctiqa_models.api import Assessment, FloatArray, HuVolume, Status
from ctiqa_models.classical import Brisque
from ctiqa_models.classical.brisque import soft_tissue_picture
from ctiqa_models.classical.brisque_features import brisque_features
from ctiqa_models.classical.brisque_regression import LiveRegression

SPACING = (5.0, 0.8, 0.8)


def _organs(slices: int = 2, size: int = 160) -> FloatArray:
    """Ellipses of soft tissue in fat in air, with fine structure in the tissue, as in an abdomen."""
    rows, columns = np.mgrid[:size, :size] / size - 0.5
    rng = np.random.default_rng(11)
    hu = np.full((slices, size, size), -1000.0)
    hu[:, (rows / 0.34) ** 2 + (columns / 0.45) ** 2 < 1] = -100.0
    hu[:, (rows / 0.30) ** 2 + (columns / 0.41) ** 2 < 1] = 50.0
    for _ in range(60):
        y, x, radius = rng.uniform(-0.25, 0.25), rng.uniform(-0.35, 0.35), rng.uniform(0.01, 0.07)
        hu[:, (rows - y) ** 2 + (columns - x) ** 2 < radius**2] = rng.uniform(-120.0, 180.0)
    hu += 15.0 * gaussian_filter(rng.normal(size=hu.shape), (0, 2.0, 2.0)) / 0.14
    return np.asarray(gaussian_filter(hu, (0, 0.6, 0.6)), dtype=np.float32)


def _noisy(sigma: float) -> FloatArray:
    noise = np.random.default_rng(3).normal(0.0, sigma, _organs().shape)
    return np.asarray(_organs() + noise, dtype=np.float32)


def _assess(hu: FloatArray) -> Assessment:
    return Brisque().assess(HuVolume(hu, SPACING), lambda share: None)


def _package_score(image: npt.NDArray[np.float64]) -> float:
    """Score with the package's own features and model, step by step: its score() fails on NumPy 2.4 and later."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from brisque import BRISQUE

    package = BRISQUE(url=False)
    half = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_CUBIC)
    features = [package.calculate_brisque_features(scale) for scale in (image, half)]
    return float(package.calculate_image_quality_score([float(np.squeeze(x)) for x in np.concatenate(features)]))


@pytest.mark.parametrize("sigma", [0.0, 10.0, 40.0])
def test_the_score_is_that_of_the_brisque_package(sigma: float) -> None:
    image = soft_tissue_picture(_noisy(sigma)[0]) / 255.0
    ours = LiveRegression().predict(brisque_features(image)[None])[0]
    assert ours == pytest.approx(_package_score(image), abs=0.05)


def test_the_score_of_a_natural_picture_is_that_of_the_package_to_many_digits() -> None:
    image = np.random.default_rng(0).normal(size=(96, 128))
    image = gaussian_filter(image, 2.0) + 0.3 * gaussian_filter(image, 0.7)
    image = (image - image.min()) / np.ptp(image)
    ours = LiveRegression().predict(brisque_features(image)[None])[0]
    assert ours == pytest.approx(_package_score(image), abs=1e-5)


@pytest.mark.data
def test_the_score_of_a_photograph_grows_with_noise_and_with_blur(ctiqa_data: Path) -> None:
    photograph = cv2.imread(str(ctiqa_data / "photos" / "kodak_03.jpg"), cv2.IMREAD_GRAYSCALE)
    assert photograph is not None
    pristine = photograph.astype(np.float64) / 255.0
    noise = np.random.default_rng(0).normal(0.0, 0.1, pristine.shape)
    pictures = (pristine, np.clip(pristine + noise, 0.0, 1.0), gaussian_filter(pristine, 3.0))
    features = np.stack([brisque_features(np.asarray(picture, dtype=np.float64)) for picture in pictures])
    clean, noisy, blurred = LiveRegression().predict(features)
    assert clean < 30.0
    assert noisy > clean + 20.0
    assert blurred > clean + 20.0


def test_noise_raises_the_score_step_by_step() -> None:
    scores = [_assess(_noisy(sigma)).measurements[0].value for sigma in (10.0, 40.0, 100.0)]
    assert scores == sorted(scores)
    assert scores[2] > scores[0] + 10.0


def test_blur_raises_the_score() -> None:
    blurred = np.asarray(gaussian_filter(_noisy(10.0), (0, 3.0, 3.0)), dtype=np.float32)
    assert _assess(blurred).measurements[0].value > _assess(_noisy(10.0)).measurements[0].value + 10.0


def test_the_series_value_is_the_mean_of_all_slices() -> None:
    series, *slices = _assess(_noisy(20.0)).measurements
    assert [measurement.slice_index for measurement in slices] == [0, 1]
    assert series.slice_index is None
    assert series.value == pytest.approx(np.mean([measurement.value for measurement in slices]))
    assert series.unit == "1"


@pytest.mark.parametrize("fill", [-3024.0, -1000.0, 40.0, 3071.0])
def test_a_slice_of_one_grey_value_is_left_out_and_named(fill: float) -> None:
    hu = _noisy(10.0)
    hu[1] = fill
    assessment = _assess(hu)
    assert list(assessment.unscored_slices) == [1]
    assert all(math.isfinite(measurement.value) for measurement in assessment.measurements)
    assert [measurement.slice_index for measurement in assessment.measurements] == [None, 0]


def test_a_volume_of_air_is_not_scored_and_says_why() -> None:
    assessment = _assess(np.full((3, 64, 64), -1000.0, dtype=np.float32))
    assert assessment.status is Status.NOT_SCORED
    assert assessment.reason
    assert not assessment.unscored_slices


def test_a_tiny_volume_is_not_scored() -> None:
    assert _assess(np.zeros((1, 8, 8), dtype=np.float32)).status is Status.NOT_SCORED


def test_half_a_picture_of_each_grey_value_gives_a_finite_score_or_a_reason() -> None:
    hu = np.full((1, 64, 64), -1000.0, dtype=np.float32)
    hu[:, 32:] = 3000.0
    assessment = _assess(hu)
    assert assessment.reason or all(math.isfinite(measurement.value) for measurement in assessment.measurements)


@pytest.mark.parametrize(
    ("hu", "grey"), [(-3024.0, 0), (-160.0, 0), (40.0, 128), (239.0, 254), (240.0, 255), (3071.0, 255)]
)
def test_the_window_is_soft_tissue(hu: float, grey: int) -> None:
    assert soft_tissue_picture(np.full((1, 1), hu, dtype=np.float32))[0, 0] == grey


def test_the_identity_names_the_model_file_and_what_it_learnt_from() -> None:
    spec = find_spec("brisque")
    assert spec is not None
    assert spec.submodule_search_locations
    model = Path(spec.submodule_search_locations[0]) / "models" / "svm.txt"
    identity = Brisque().identity
    assert identity.weights_sha256 == hashlib.sha256(model.read_bytes()).hexdigest()
    assert "LIVE" in identity.trained_on


def test_progress_ends_at_one() -> None:
    shares: list[float] = []
    Brisque().assess(HuVolume(_noisy(10.0), SPACING), shares.append)
    assert shares == [0.5, 1.0]
