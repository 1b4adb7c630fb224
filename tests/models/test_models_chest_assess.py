"""The Chest CT-IQA assessor: on odd volumes with any weights, and on phantoms with those that ship."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ctiqa_models import catalog
from ctiqa_models.api import Assessment, HuVolume, ReasonCode, Status
from ctiqa_models.chest_ctiqa.assess import ChestCtiqa
from ctiqa_models.chest_ctiqa.calibration import ReaderScore, calibrate
from ctiqa_models.chest_ctiqa.domain import Domain, Range
from ctiqa_models.chest_ctiqa.fit import Features, Fit, save_fit
from ctiqa_models.chest_ctiqa.labels import Window
from ctiqa_models.chest_ctiqa.recipe import read_recipe
from ctiqa_models.chest_ctiqa.release import Release, network_of, read_release, write_release
from ctiqa_models.chest_ctiqa.volumes import phantom_series
from ctiqa_models.familiarity import Familiarity
from ctiqa_models.simulation.phantom import anatomy
from ctiqa_models.simulation.projector import SMOOTH, Kernel
from ctiqa_models.simulation.series import Scan, simulate_series
from ctiqa_models.weights import WeightsError, WeightsFile

_DOMAIN = Domain(Range(200, 600), Range(0.4, 8.0), Range(200, 1500))
_PIXEL_MM = 400 / 128


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> WeightsFile:
    recipe = replace(read_recipe(), slices=4, size=32, widths=(2, 3, 4, 5, 6), hidden=(8, 8))
    torch.manual_seed(0)
    network = network_of(recipe).eval()
    seen = network.look(torch.randn(20, 7, 4, 32, 32))[1].detach()
    lenient = replace(Familiarity.fit(seen, list(map(str, range(20)))), limits=torch.full((2,), 1e9))
    release = Release(network, recipe, _DOMAIN, lenient, "nothing")
    return write_release(release, tmp_path_factory.mktemp("weights") / "any.safetensors")


@pytest.fixture(scope="module")
def body() -> HuVolume:
    """A made-up trunk from the kidneys to the apex of the lungs, without noise."""
    return HuVolume(anatomy(3, 12, 128), (400 / 12, _PIXEL_MM, _PIXEL_MM))


def _part(body: HuVolume, first: int, last: int) -> HuVolume:
    return HuVolume(body.hu[first:last], body.spacing_mm)


def _assess(assessor: ChestCtiqa, volume: HuVolume) -> Assessment:
    shares: list[float] = []
    assessment = assessor.assess(volume, shares.append)
    if assessment.status is Status.SCORED:
        assert shares[-1] == 1
    return assessment


def test_a_chest_gets_all_that_the_paper_promises(untrained: WeightsFile, body: HuVolume) -> None:
    found = _assess(ChestCtiqa(untrained, device="cpu"), _part(body, 6, 12))
    assert found.status is Status.SCORED
    values = {one.name: one.value for one in found.measurements}
    assert set(values) == {"chest_ctiqa_score", "chest_ctiqa_score_spread", "chest_ctiqa_snr", "chest_ctiqa_brisque"}
    assert 1 <= values["chest_ctiqa_score"] <= 10
    assert values["chest_ctiqa_score_spread"] >= 0
    for name, labels in (("window", {"lung", "soft tissue"}), ("exposure", {"30 mAs", "50 mAs"})):
        classes = [one for one in found.classifications if one.name == f"chest_ctiqa_{name}"]
        assert {one.label for one in classes} == labels
        assert sum(one.probability for one in classes) == pytest.approx(1)
        assert classes[0].probability >= classes[1].probability
    grades = [one for one in found.classifications if one.name == "chest_ctiqa_grade"]
    assert {one.label for one in grades} <= {"bad", "general", "good"}
    assert sum(one.probability for one in grades) == pytest.approx(1)


def test_the_score_is_the_fit_of_what_is_reported(untrained: WeightsFile, body: HuVolume) -> None:
    fit = Fit(snr=0.01, brisque=0.02, window=0.5, exposure=0.25, intercept=4.0)
    found = _assess(ChestCtiqa(untrained, fit, "cpu"), _part(body, 6, 12))
    values = {one.name: one.value for one in found.measurements}
    shares = {one.label: one.probability for one in found.classifications}
    features = Features(
        values["chest_ctiqa_snr"], values["chest_ctiqa_brisque"], shares["soft tissue"], shares["50 mAs"]
    )
    assert values["chest_ctiqa_score"] == pytest.approx(fit.score(features))


@pytest.mark.parametrize("count", [1, 2, 5, 1500])
def test_any_number_of_slices_will_do(untrained: WeightsFile, body: HuVolume, count: int) -> None:
    volume = HuVolume(body.hu[np.linspace(7, 10, count).astype(int)], body.spacing_mm)
    assert _assess(ChestCtiqa(untrained, device="cpu"), volume).status is Status.SCORED


def test_what_is_no_number_does_not_become_a_score(untrained: WeightsFile, body: HuVolume) -> None:
    volume = HuVolume(body.hu[6:].copy(), body.spacing_mm)
    volume.hu[:, :9] = np.nan
    volume.hu[:, 9] = np.inf
    found = _assess(ChestCtiqa(untrained, device="cpu"), volume)
    assert all(np.isfinite(one.value) for one in found.measurements)


def test_an_abdomen_is_not_scored(untrained: WeightsFile, body: HuVolume) -> None:
    found = _assess(ChestCtiqa(untrained, device="cpu"), _part(body, 0, 4))
    assert found.status is Status.NOT_SCORED
    assert "no chest" in str(found.reason)
    assert not found.measurements


@pytest.mark.parametrize(
    ("volume", "reason", "code"),
    [
        (HuVolume(np.full((3, 64, 64), -1000, np.float32), (5, 6, 6)), "no body", ReasonCode.TOO_LITTLE),
        (HuVolume(np.full((3, 64, 48), 40, np.float32), (5, 6, 6)), "square", ReasonCode.OUT_OF_RANGE),
        (HuVolume(np.full((1, 64, 64), 40, np.float32), (5, 6, 6)), "no chest", ReasonCode.OTHER_ANATOMY),
    ],
)
def test_what_is_no_chest_is_refused_with_its_reason(
    untrained: WeightsFile, volume: HuVolume, reason: str, code: ReasonCode
) -> None:
    found = _assess(ChestCtiqa(untrained, device="cpu"), volume)
    assert found.status is Status.NOT_SCORED
    assert reason in str(found.reason)
    assert found.reason_code is code


def test_the_identity_tells_whose_coefficients_were_used(untrained: WeightsFile, tmp_path: Path) -> None:
    published = ChestCtiqa(untrained, device="cpu").identity
    assert "the paper's coefficients" in published.summary
    assert published.weights_sha256 == untrained.sha256
    draw = np.random.default_rng(0)
    features = {str(index): Features(*draw.uniform(1, 9, 4)) for index in range(30)}
    rows = [ReaderScore(name, "A", float(draw.integers(1, 11))) for name in features]
    save_fit(tmp_path, calibrate(rows, features))
    own = catalog.assessors("cpu", ["chest_ctiqa"], tmp_path)[0].identity
    assert "this site's coefficients of 20" in own.summary
    assert "calibrated" in own.version


def test_weights_of_another_version_are_refused(untrained: WeightsFile, tmp_path: Path) -> None:
    release = read_release(untrained)
    other = write_release(replace(release, recipe=replace(release.recipe, hidden=(9, 9))), tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="another version"):
        ChestCtiqa(other)


def test_the_catalog_ships_it() -> None:
    assert "chest_ctiqa" in catalog.NAMES
    assert catalog.CHEST_CTIQA_WEIGHTS.path.stat().st_size < 4_000_000
    assessor = catalog.assessors("cpu", ["chest_ctiqa"])[0]
    assert assessor.identity.weights_sha256 == catalog.CHEST_CTIQA_WEIGHTS.sha256


def test_what_ships_tells_sharp_from_smooth_chests_it_has_never_seen() -> None:
    assessor = ChestCtiqa(catalog.CHEST_CTIQA_WEIGHTS, device="cpu")
    for series in phantom_series(9001, 2):
        volume = HuVolume(series.hu.numpy(), (20.0, series.pixel_mm, series.pixel_mm))
        classes = [one for one in _assess(assessor, volume).classifications if one.name == "chest_ctiqa_window"]
        assert series.window is not None
        assert classes[0].label == Window(series.window).words


def test_what_ships_scores_no_abdomen() -> None:
    hu = anatomy(9002, 9, 512, 380.0)[:3]
    found = _assess(ChestCtiqa(catalog.CHEST_CTIQA_WEIGHTS, device="cpu"), HuVolume(hu, (44.0, 380 / 512, 380 / 512)))
    assert found.status is Status.NOT_SCORED


@pytest.mark.slow
@pytest.mark.parametrize(("kernel", "window"), [(Kernel(1.6, 2.0), Window.LUNG), (SMOOTH, Window.SOFT_TISSUE)])
def test_the_full_simulation_is_judged_like_the_short_cuts_of_training(kernel: Kernel, window: Window) -> None:
    scan = Scan(dose_fraction=0.25, field_of_view_mm=390.0, kernel=kernel)
    whole = simulate_series(9003, 5, 512, scan)
    volume = HuVolume(whole.hu[3:4], whole.spacing_mm)
    found = _assess(ChestCtiqa(catalog.CHEST_CTIQA_WEIGHTS, device="cpu"), volume)
    classes = [one.label for one in found.classifications if one.name == "chest_ctiqa_window"]
    assert classes[0] == window.words
