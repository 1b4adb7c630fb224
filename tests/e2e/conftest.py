"""Simulated series for the end-to-end tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from ctiqa_models.simulation.series import Scan, simulate_series
from ctiqa_node.ct.writer import SeriesTags, write_series
from support.series import MakeSeries

_SPACING = (5.0, 1.6, 1.6)


@pytest.fixture(scope="session")
def simulated_hu() -> npt.NDArray[np.float32]:
    """Sixteen simulated slices of 256 × 256, 1.6 mm pixels, at half the reference dose."""
    return simulate_series(3, 16, 256, Scan(dose_fraction=0.5, field_of_view_mm=256 * 1.6)).hu


@pytest.fixture
def make_series(simulated_hu: npt.NDArray[np.float32], tmp_path: Path) -> MakeSeries:
    """Write so many of the simulated slices as a new series, from the first again when they are used up."""
    made = 0

    def make(slices: int = 16, **tags: object) -> list[Path]:
        nonlocal made
        made += 1
        return write_series(
            np.resize(simulated_hu, (slices, *simulated_hu.shape[1:])),
            _SPACING,
            tmp_path / f"series-{made}",
            tags=SeriesTags(**tags),
        )

    return make
