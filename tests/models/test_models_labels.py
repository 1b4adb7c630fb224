"""Labels: VIF as published, and scores spread as the readers' were."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from ctiqa_models.simulation.labels import READERS_COUNTS, QuantileMap, vif, vif_under_window


def _picture(seed: int = 1) -> torch.Tensor:
    noise = torch.rand(2, 1, 100, 110, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.avg_pool2d(noise, 5, 1, 2)[:, 0]


def _noise(sigma: float, seed: int = 2) -> torch.Tensor:
    return sigma * torch.randn(2, 100, 110, generator=torch.Generator().manual_seed(seed))


def test_an_image_tells_all_of_itself() -> None:
    assert torch.allclose(vif(_picture(), _picture()), torch.ones(2, dtype=torch.float64))


def test_vif_agrees_with_piq() -> None:
    """The figures are those of `vif_p` of piq 0.8.0 (doubles, data_range 1) for the same four pairs."""
    y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in (96, 120)), indexing="ij")
    clean = (0.5 + 0.2 * torch.sin(x * y / 60) + 0.15 * torch.sin(x / 3) + 0.1 * torch.cos(y / 7))[None].clamp(0, 1)
    steps = torch.round(clean * 6) / 6
    blurred = torch.nn.functional.avg_pool2d(clean[:, None], 3, 1, 1)[:, 0]
    stronger = (0.5 + 1.2 * (clean - 0.5)).clamp(0, 1)
    flat_in_part = torch.where(x < 50, 0.4, clean)
    pairs = ((steps, 0.4578642942), (blurred, 0.4704556666), (stronger, 1.0419912200), (flat_in_part, 0.5479406082))
    for distorted, piqs in pairs:
        assert float(vif(distorted, clean)) == pytest.approx(piqs, rel=1e-7)


def test_vif_falls_with_noise_and_with_blur_and_rises_with_contrast() -> None:
    clean = _picture()
    noisy = [float(vif(clean + _noise(sigma), clean)[0]) for sigma in (0.01, 0.03, 0.1, 0.3)]
    assert noisy == sorted(noisy, reverse=True)
    blurred = torch.nn.functional.avg_pool2d(clean[:, None], 3, 1, 1)[:, 0]
    assert (vif(blurred, clean) < 0.8).all()
    assert (vif(0.5 + 1.2 * (clean - 0.5), clean) > 1).all()
    assert (vif(1 - clean, clean) < 1e-6).all()


def test_slices_do_not_mix() -> None:
    clean = _picture()
    both = vif(clean + _noise(0.05), clean)
    assert float(both[1]) == pytest.approx(float(vif((clean + _noise(0.05))[1:], clean[1:])[0]))


def test_what_the_display_does_not_show_does_not_count() -> None:
    hu = 1000 * (_picture() - 0.5)
    hu[:, :30] = -1000
    changed = hu.clone()
    changed[:, :30] = -800
    assert torch.allclose(vif_under_window(changed, hu), torch.ones(2, dtype=torch.float64))
    assert (vif_under_window(hu + 200 * _noise(1.0), hu) < 0.5).all()


def test_images_that_cannot_be_compared_are_refused() -> None:
    for other in (torch.zeros(1, 40, 60), torch.zeros(60, 60)):
        with pytest.raises(ValueError, match="vif"):
            vif(other, other)
    with pytest.raises(ValueError, match="vif"):
        vif(torch.zeros(1, 60, 60), torch.zeros(2, 60, 60))


def test_the_published_scores_are_a_thousand() -> None:
    assert sum(READERS_COUNTS) == 1000
    assert len(READERS_COUNTS) == 21


def test_mapped_values_are_spread_as_the_readers_scores() -> None:
    published = np.repeat(np.arange(21) * 0.2, READERS_COUNTS)
    values = np.random.default_rng(1).lognormal(size=3000)
    scores = QuantileMap.fit(values).apply(values)
    assert scores.mean() == pytest.approx(published.mean(), abs=0.01)
    assert scores.std() == pytest.approx(published.std(), abs=0.02)
    assert (scores.min(), scores.max()) == (0.0, 4.0)
    rounded = np.rint(scores / 0.2) * 0.2
    assert ks_2samp(rounded, published).statistic < 0.03
    counts = np.bincount(np.rint(scores / 0.2).astype(int), minlength=21) / 3
    assert np.abs(counts - READERS_COUNTS).max() < 15


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=50))
def test_a_better_value_never_gets_a_worse_score(values: list[float]) -> None:
    curve = QuantileMap.fit(values)
    grid = np.linspace(-6, 6, 200)
    scores = curve.apply(grid)
    assert (np.diff(scores) >= 0).all()
    assert 0 <= scores.min() <= scores.max() <= 4


def test_equal_values_get_equal_scores_and_new_ones_lie_between() -> None:
    curve = QuantileMap.fit([0.1, 0.1, 0.1, 0.9])
    low, between, high = curve.apply([0.1, 0.5, 0.9])
    assert low < between < high
    assert curve.apply([-1.0, 2.0]).tolist() == [low, high]


def test_values_that_map_nothing_are_refused() -> None:
    for values in ([0.5], [], [0.1, float("nan")]):
        with pytest.raises(ValueError, match="finite"):
            QuantileMap.fit(values)
