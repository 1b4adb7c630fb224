"""The simulated noise is near that of real scans (benchmarks/simulation_against_pairs.py does it for all of them)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from ctiqa_models.n2q.body import find_anatomy
from ctiqa_models.simulation.distortions_ct import Acquisition, degrade, take_projections
from ctiqa_models.simulation.noise_power import noise_power_spectrum, radial
from ctiqa_models.simulation.projector import Kernel


@pytest.mark.data
def test_simulated_noise_has_the_level_the_grain_and_the_place_of_real_noise(ctiqa_data: Path) -> None:
    files = sorted((ctiqa_data / "pairs").glob("*_B30f_*.npz"))
    if not files:
        pytest.skip("no pairs under a smooth kernel")
    with np.load(files[len(files) // 2]) as pair:
        full, quarter = (torch.from_numpy(pair[dose].astype(np.float32))[None] for dose in ("full", "quarter"))
        pixel_mm = float(pair["spacing"][0])
    acquisition = Acquisition(0.25, kernel=Kernel(1.5))
    projections = take_projections(full, pixel_mm)
    simulated = degrade(projections, acquisition, torch.Generator().manual_seed(1), own_dose=1.0) - full
    real = quarter - full

    body = find_anatomy(full[0].numpy()).body.reshape(16, 32, 16, 32).mean(axis=(1, 3)) > 0.95
    theirs, ours = (noise[0].reshape(16, 32, 16, 32).std(dim=(1, 3)).numpy()[body] for noise in (real, simulated))
    assert 0.7 < float(np.median(ours / theirs)) < 1.4
    assert spearmanr(ours, theirs).statistic > 0.6
    middle = slice(192, 320)
    grain = [radial(noise_power_spectrum(n[:, middle, middle], pixel_mm), pixel_mm).mean for n in (real, simulated)]
    assert grain[1] == pytest.approx(grain[0], rel=0.1)
