"""The pictures of phase 1: photographs with KADID-10k's distortions, and what two full-reference indices say of them.

The indices are HaarPSI (Reisenhofer et al. 2018, doi:10.1016/j.image.2017.11.001) and GMSD (Xue et al. 2014,
doi:10.1109/TIP.2013.2293423), from piq: cheap, and of those that follow KADID-10k's viewers best. Each is put on the
scale of the mean opinion scores by its ranks, and the two are averaged.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from ctiqa_models.api import ByteArray
from ctiqa_models.data.photos import read_photo
from ctiqa_models.simulation.distortions_photo import LEVELS, PhotoDistortion, distort_photo

SIDE = 384
"""Rows of KADID-10k's pictures; its distortions are made for that size."""


@dataclass(frozen=True, slots=True)
class DistortedPhoto:
    """One picture's record: which of its file it is, of which photograph, and its indices against the pristine one."""

    file: str
    """Name of the .npy that holds it, uint8 grey [k, n, n]."""
    index: int
    photo: str
    distortion: int
    level: int
    haarpsi: float
    gmsd: float
    """Grows as the picture gets worse."""


def make_photographs(files: Sequence[Path], out: Path, side: int = SIDE, processes: int = 1) -> None:
    """Distort these photographs in all 125 ways into `out`; what is there already is kept. 10 s a photograph."""
    out.mkdir(parents=True, exist_ok=True)
    missing = [file for file in files if not (out / f"{file.stem}.json").exists()]
    if processes == 1:
        for file in missing:
            _make(file, out, side)
        return
    # Spawned, not forked: torch's thread pools do not survive a fork.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for _ in pool.map(partial(_make, out=out, side=side), missing):
            pass


def read_photographs(folder: Path) -> list[DistortedPhoto]:
    """The records of all pictures of a folder, by file; ValueError when there are none."""
    records = sorted(folder.glob("*.json"))
    if not records:
        raise ValueError(f"{folder} holds no distorted photographs")
    return [DistortedPhoto(**entry) for record in records for entry in json.loads(record.read_text(encoding="utf-8"))]


def grey(photo: ByteArray) -> ByteArray:
    """Luma of RGB [y, x, 3] in 0–255 (ITU-R BT.601), uint8 [y, x]: the one channel that the network sees."""
    return np.asarray(Image.fromarray(photo).convert("L"))


def _make(file: Path, out: Path, side: int) -> None:
    torch.set_num_threads(1)
    whole = Image.fromarray(read_photo(file))
    photo = np.asarray(ImageOps.fit(whole, (side, side), Image.Resampling.LANCZOS))
    kinds = [(kind, level) for kind in PhotoDistortion for level in LEVELS]
    pictures = np.stack([grey(distort_photo(photo, kind, level, seed=0)) for kind, level in kinds])
    target = out / f"{file.stem}.npy"
    np.save(target, pictures)
    indices = [_indices(picture, grey(photo)) for picture in pictures]
    records = [
        DistortedPhoto(target.name, index, file.stem, int(kind), level, *found)
        for index, ((kind, level), found) in enumerate(zip(kinds, indices, strict=True))
    ]
    fresh = target.with_suffix(".part")
    fresh.write_text(json.dumps([asdict(record) for record in records]), encoding="utf-8")
    fresh.replace(target.with_suffix(".json"))


def _indices(picture: ByteArray, pristine: ByteArray) -> tuple[float, float]:
    """HaarPSI and GMSD."""
    from piq import gmsd, haarpsi  # of the extra `train`; nothing that ships needs it

    x, y = (torch.from_numpy(one.astype(np.float32) / 255.0)[None, None] for one in (picture, pristine))
    return float(haarpsi(x, y, data_range=1.0)), float(gmsd(x, y, data_range=1.0))
