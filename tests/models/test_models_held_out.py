"""Faults that no training sees: each grows with its level, and looks as physics says."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch

from ctiqa_models.simulation.distortions_ct import Projections, take_projections
from ctiqa_models.simulation.dose import ReferenceScanner
from ctiqa_models.simulation.held_out_distortions import LEVELS, HeldOut, distort_held_out
from ctiqa_models.simulation.labels import vif_under_window
from ctiqa_models.simulation.phantom import anatomy

_SIZE = 160
_PIXEL_MM = 2.5


@pytest.fixture(scope="module")
def slices() -> Projections:
    hu = torch.from_numpy(anatomy(4, 3, _SIZE, _SIZE * _PIXEL_MM))
    return take_projections(hu, _PIXEL_MM, ReferenceScanner(views=256))


def _with(slices: Projections, kind: HeldOut, level: int, seed: int = 1) -> torch.Tensor:
    return distort_held_out(slices, kind, level, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", HeldOut)
@pytest.mark.parametrize("seed", [1, 2])
def test_error_grows_and_fidelity_falls_with_the_level(slices: Projections, kind: HeldOut, seed: int) -> None:
    body = slices.hu > -500
    copies = [_with(slices, kind, level, seed) for level in LEVELS]
    errors = torch.stack(
        [
            torch.stack([(c - s)[b].square().mean() for c, s, b in zip(copy, slices.hu, body, strict=True)])
            for copy in copies
        ]
    )
    fidelity = torch.stack([vif_under_window(copy, slices.hu) for copy in copies])
    assert all((worse > 1.2 * better).all() for better, worse in pairwise(errors))
    assert all((worse < better).all() for better, worse in pairwise(fidelity))
    assert (fidelity[0] < 0.999).all()


@pytest.mark.parametrize("kind", HeldOut)
def test_the_same_generator_makes_the_same_picture(slices: Projections, kind: HeldOut) -> None:
    first, second, other = (_with(slices, kind, 3, seed) for seed in (5, 5, 6))
    assert first.shape == slices.hu.shape
    assert torch.isfinite(first).all()
    assert torch.equal(first, second)
    assert torch.equal(first, other) == (kind is HeldOut.OVER_SMOOTHING)


def test_rings_are_round_and_in_one_place_in_every_slice(slices: Projections) -> None:
    error = _with(slices, HeldOut.RINGS, 3) - slices.hu
    assert torch.allclose(error[0], error[1], atol=0.05)
    axis = torch.arange(_SIZE) - (_SIZE - 1) / 2
    ring = torch.hypot(axis[None, :], axis[:, None]).round().long()
    inside = (ring > 5) & (ring < 70)
    sums, counts = (
        torch.bincount(ring[inside], weights=w) for w in (error[0][inside].double(), torch.ones(int(inside.sum())))
    )
    round_part = (sums / counts.clamp(min=1))[ring[inside]]
    assert float(round_part.var() / error[0][inside].var()) > 0.6


def test_metal_is_there_and_darkens_what_lies_between(slices: Projections) -> None:
    changed = _with(slices, HeldOut.METAL, 5)
    body = slices.hu[1] > -500
    assert float(changed[1].max()) > 3000
    rows, columns = torch.nonzero(body, as_tuple=True)
    y, x = int(rows.double().mean()), int(columns.double().mean())
    assert float((changed - slices.hu)[1, y - 1 : y + 2, x - 3 : x + 4].mean()) < -50


def test_metal_needs_a_body() -> None:
    air = take_projections(torch.full((1, 64, 64), -1000.0), 4.0, ReferenceScanner(views=16))
    with pytest.raises(ValueError, match="body"):
        _with(air, HeldOut.METAL, 1)


def test_the_over_smoothing_denoiser_takes_noise_and_keeps_edges() -> None:
    clean = torch.full((1, 64, 64), 40.0)
    clean[:, :, 32:] = 900.0
    noisy = Projections(
        clean + 8 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(1)),
        *_no_projections(),
    )
    smooth = _with(noisy, HeldOut.OVER_SMOOTHING, 3)
    assert float((smooth - clean)[:, 8:-8, 8:24].std()) < 3
    assert float((smooth - clean)[:, 8:-8, 28:36].abs().max()) < 60


def test_other_levels_are_refused(slices: Projections) -> None:
    for level in (0, 6):
        with pytest.raises(ValueError, match="level"):
            _with(slices, HeldOut.MOTION, level)


def test_no_training_imports_the_held_out_distortions() -> None:
    package = Path(__file__).resolve().parents[2] / "models" / "ctiqa_models"
    users = [file.name for file in package.rglob("*.py") if "held_out_distortions" in file.read_text()]
    assert not [name for name in users if "train" in name or "recipe" in name or "examples" in name]


def _no_projections() -> tuple[torch.Tensor, object, ReferenceScanner]:
    empty = take_projections(torch.full((1, 64, 64), -1000.0), 1.0, ReferenceScanner(views=4))
    return empty.sinogram, empty.geometry, empty.scanner
