"""LDCTIQAC 2023: abdominal slices at low dose and with few views, scored from 0 to 4 by five radiologists each.

Lee et al., Medical Image Analysis 2025, doi:10.1016/j.media.2024.103343; doi:10.5281/zenodo.7833096. The data set is a
folder with `image/0000.tif` … (float32 512×512, about −1024 … +450 HU mapped to 0–1) and `train.json`, an object with
the mean score of each file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from ctiqa_models.api import FloatArray
from ctiqa_models.data.scores import checked_score

IMAGES = "image"
SCORES = "train.json"
SIZE = 512
LOWEST_SCORE, HIGHEST_SCORE = 0.0, 4.0
_ROUNDING = 1e-3
_EVERY = 5


@dataclass(frozen=True, slots=True)
class RatedSlice:
    """One slice and the mean of its radiologists' scores, 0 (bad) to 4 (excellent)."""

    file: Path
    score: float


def read_ldctiqac(folder: Path) -> list[RatedSlice]:
    """All scored slices, by file name; `train.json` may name a file with or without its `.tif`.

    Raises ValueError that names the file and what is wrong: no JSON object, a score that is no number or outside 0–4, a
    slice that is not there or is named twice.
    """
    table = folder / SCORES
    try:
        scores = json.loads(table.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{table} is no JSON ({error}); unpack LDCTIQAC 2023 again.") from error
    if not isinstance(scores, dict) or not scores:
        raise ValueError(f'{table} must be an object that gives each file its score, such as {{"0000.tif": 2.4}}.')
    rated = sorted((_rated(folder, name, score) for name, score in scores.items()), key=lambda one: one.file)
    for one, other in pairwise(rated):
        if one.file == other.file:
            raise ValueError(f"{table} names {one.file.name} twice.")
    return rated


def _rated(folder: Path, name: str, score: object) -> RatedSlice:
    where = f"{folder / SCORES}, {name}"
    file = folder / IMAGES / (name if name.lower().endswith((".tif", ".tiff")) else f"{name}.tif")
    if not file.is_file():
        raise ValueError(f"{where}: there is no image {file}; unpack LDCTIQAC 2023 again, or take the name out.")
    return RatedSlice(file, checked_score(score, LOWEST_SCORE, HIGHEST_SCORE, where))


def split(rated: list[RatedSlice]) -> tuple[list[RatedSlice], list[RatedSlice]]:
    """Those that train and those that validate: every fifth by name validates, 800 and 200 of the 1,000.

    The papers divide 800 / 200 and do not say which; the files name no patients.
    """
    ordered = sorted(rated, key=lambda one: one.file)
    held_out = ordered[_EVERY - 1 :: _EVERY]
    chosen = set(held_out)
    return [one for one in ordered if one not in chosen], held_out


def read_image(file: Path) -> FloatArray:
    """One slice as float32 [512, 512] in 0–1.

    Raises ValueError that names the file: it is no image, not one channel of 512×512, or holds values that are not in
    0–1, as slices in Hounsfield units do.
    """
    try:
        with Image.open(file) as opened:
            image = np.asarray(opened, dtype=np.float32)
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{file} cannot be read as an image ({error}); unpack LDCTIQAC 2023 again.") from error
    if image.shape != (SIZE, SIZE):
        raise ValueError(f"{file}: a slice of LDCTIQAC is {SIZE}×{SIZE} with one channel, not {list(image.shape)}.")
    low, high = float(image.min()), float(image.max())
    if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):  # NaN fails too
        raise ValueError(f"{file}: the values must lie in 0–1, not {low:g} … {high:g}.")
    return np.clip(image, 0.0, 1.0)
