"""The data that a training or an evaluation was given, sorted by kind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Sources:
    """Folders, each None where there is none.

    `slices` holds training slices (`slices.py`), `photos` pristine photographs to distort, `kadid` KADID-10k (images/,
    dmos.csv), `ldctiqac` LDCTIQAC 2023 (image/*.tif, train.json), `pairs` slices at full and at quarter dose (.npz with
    full, quarter and spacing), which serve evaluation alone.
    """

    slices: Path | None = None
    photos: Path | None = None
    kadid: Path | None = None
    ldctiqac: Path | None = None
    pairs: Path | None = None
