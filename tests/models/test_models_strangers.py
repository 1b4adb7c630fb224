"""Strangers: they look like what they are, a gate of sizes lets many of them in, and the trunk gate none."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import torch
from PIL import Image

from ctiqa_models.api import FloatArray, HuVolume
from ctiqa_models.n2q.body import find_anatomy, measure
from ctiqa_models.n2q.domain import Objection
from ctiqa_models.n2q.preprocess import to_matrix
from ctiqa_models.plausible import PlainGate
from ctiqa_models.simulation.kernel_noise import kernel_noise
from ctiqa_models.simulation.noise_power import noise_power_spectrum, radial
from ctiqa_models.simulation.phantom import anatomy
from ctiqa_models.simulation.strangers import Kind, stranger
from ctiqa_models.simulation.strangers_pictures import magnetic_resonance
from ctiqa_models.trunk.gate import load_trunk

# What the gate looks at was chosen with seeds below 100.
SEEDS = (200, 201)


@cache
def _stranger(kind: Kind, seed: int) -> HuVolume:
    return stranger(kind, seed, slices=2)


def _objections(volume: HuVolume) -> list[Objection | None]:
    field_of_view_mm = volume.spacing_mm[1] * volume.hu.shape[1]
    return [
        load_trunk().objection(hu, find_anatomy(hu), field_of_view_mm)
        for hu in to_matrix(torch.from_numpy(volume.hu)).numpy()
    ]


def _area_cm2(volume: HuVolume) -> float:
    return float(find_anatomy(volume.hu[0]).body.sum() * volume.spacing_mm[1] ** 2 / 100)


@pytest.mark.parametrize("kind", Kind)
def test_a_stranger_is_a_volume_in_hu_the_same_for_the_same_seed(kind: Kind) -> None:
    volume = _stranger(kind, 200)
    assert volume.hu.shape == (2, 256, 256)
    assert volume.hu.dtype == np.float32
    assert volume.hu.min() >= -1024
    assert volume.hu.max() <= 3071
    assert np.array_equal(volume.hu, np.rint(volume.hu))
    assert volume.spacing_mm[1] == volume.spacing_mm[2] > 0
    assert np.array_equal(volume.hu, stranger(kind, 200, slices=2).hu)
    assert not np.array_equal(volume.hu, _stranger(kind, 201).hu)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_trunk_gate_refuses_every_slice_of_it(kind: Kind, seed: int) -> None:
    assert all(_objections(_stranger(kind, seed)))


def test_a_gate_of_sizes_lets_many_of_them_in() -> None:
    verdicts = []
    for kind in Kind:
        volume = _stranger(kind, 201)
        features = measure(volume.hu[0], find_anatomy(volume.hu[0]), volume.spacing_mm[1] * 256)
        verdicts.append(PlainGate().objection(features) is None)
    assert np.mean(verdicts) > 0.5


def test_a_real_photograph_is_refused_however_it_is_dressed() -> None:
    file = Path(mpl.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    picture = np.asarray(Image.open(file).convert("L"), dtype=np.float32) / 255
    dressed = [stranger(Kind.PHOTOGRAPH, seed, slices=1, picture=picture) for seed in range(20)]
    # One in twenty passes: cut out as a trunk, in the grey levels of soft tissue.
    assert np.mean([bool(_objections(volume)[0]) for volume in dressed]) >= 0.9


@pytest.mark.parametrize("seed", SEEDS)
def test_a_head_is_brain_in_a_ring_of_bone(seed: int) -> None:
    hu = _stranger(Kind.HEAD, seed).hu[1]
    bone = hu > 400
    rows, columns = np.nonzero(bone)
    middle = hu[int(rows.mean()) - 20 : int(rows.mean()) + 20, int(columns.mean()) - 20 : int(columns.mean()) + 20]
    assert 15 < np.median(middle) < 45
    distance = np.hypot(rows - rows.mean(), columns - columns.mean())
    assert np.percentile(distance, 10) > 0.6 * np.percentile(distance, 90)


def test_heads_of_odd_seeds_are_as_large_as_trunks_and_others_as_heads() -> None:
    assert 400 < _area_cm2(_stranger(Kind.HEAD, 201)) < 1100
    assert 130 < _area_cm2(_stranger(Kind.HEAD, 200)) < 300


def test_mr_shows_fat_and_hides_bone_and_lung() -> None:
    hu = np.full((1, 64, 64), 50.0, dtype=np.float32)
    hu[0, :16], hu[0, 16:32], hu[0, 48:] = -110.0, -850.0, 1200.0
    for seed in range(6):
        shown = magnetic_resonance(hu, np.random.default_rng(seed))[0]
        fat, lung, muscle, bone = (float(np.median(shown[rows : rows + 16])) for rows in (0, 16, 32, 48))
        assert min(fat, muscle) > max(lung, bone)


def test_a_localizer_has_lungs_left_and_right_of_a_spine() -> None:
    views = [view for seed in (200, 201) for view in _stranger(Kind.LOCALIZER, seed).hu]
    across = [view[40:110].mean(axis=0) for view in views]
    spine = [float(profile[118:138].mean() - profile[[80, 176]].mean()) for profile in across]
    assert sum(difference > 100 for difference in spine) >= 2


def test_kernel_noise_has_its_deviation_and_a_spectrum_that_peaks_off_zero() -> None:
    noise = kernel_noise(np.random.default_rng(1), 256, 20.0)
    assert noise.std() == pytest.approx(20.0, rel=0.01)
    spectrum = radial(noise_power_spectrum(torch.from_numpy(noise)[None], 1.0), 1.0)
    assert 0.05 < spectrum.peak < 0.35
    assert float(spectrum.power[:3].mean()) < 0.3 * float(spectrum.power.max())


def test_a_made_up_patient_that_no_gate_was_fitted_on_is_no_stranger() -> None:
    hu: FloatArray = anatomy(seed=777, slices=3, size=256, field_of_view_mm=400.0)
    assert not any(_objections(HuVolume(hu, (100.0, 400 / 256, 400 / 256))))
