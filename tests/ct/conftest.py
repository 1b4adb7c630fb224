"""A small simulated volume, and ways to spoil the files of a series."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
import pytest

from ctiqa_node.ct.writer import SeriesTags, write_series

SPACING = (2.5, 0.7, 0.8)


@pytest.fixture
def hu() -> npt.NDArray[np.float64]:
    """Six slices of 40×48 pixels, each with a mean of its own, between air and bone."""
    rng = np.random.default_rng(7)
    return rng.integers(-1000, 1500, size=(6, 40, 48)) + 10.0 * np.arange(6)[:, None, None]


@pytest.fixture
def tags() -> SeriesTags:
    return SeriesTags()


@pytest.fixture
def series(tmp_path: Path, hu: npt.NDArray[np.float64], tags: SeriesTags) -> list[Path]:
    """The volume `hu` as six files of the series `tags`, in z order."""
    return write_series(hu, SPACING, tmp_path / "series", tags=tags)


@pytest.fixture
def edit() -> Callable[..., str]:
    """edit(path, keyword=value …) sets attributes, None deletes them; answers the SOP Instance UID."""

    def change(path: Path, **attributes: object) -> str:
        dataset = pydicom.dcmread(path)
        for keyword, value in attributes.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)
        dataset.save_as(path)
        return str(dataset.SOPInstanceUID)

    return change
