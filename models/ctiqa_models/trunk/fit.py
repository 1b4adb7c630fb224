"""Learn what trunks are made of, from training slices and made-up patients: `python -m ctiqa_models.trunk.fit`."""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from ctiqa_models import weights
from ctiqa_models.api import FloatArray
from ctiqa_models.composition import composition
from ctiqa_models.data.slices import read_slice, slice_files
from ctiqa_models.data.split import is_held_out
from ctiqa_models.familiarity import Familiarity
from ctiqa_models.n2q.body import find_anatomy
from ctiqa_models.n2q.preprocess import SIZE, to_matrix
from ctiqa_models.simulation.kernel_noise import kernel_noise
from ctiqa_models.simulation.phantom import anatomy
from ctiqa_models.trunk.gate import PREFIX

_PHANTOMS, _PHANTOM_SLICES, _PHANTOM_FIELD_MM = 16, 4, 400.0
_NOISE_HU = (10.0, 100.0)
_KEPT, _MARGIN = 16, 1.0

_Row = tuple[FloatArray, str]


def fit(slices: Path, phantoms: int = _PHANTOMS) -> tuple[Familiarity, str]:
    """The trunks of the training patients in a folder of training slices, and of made-up ones; and what they were.

    Every slice counts twice, as it came and with noise, so that the noise of a low dose changes nothing. Raises
    ValueError when the folder holds no training slices.
    """
    real, made = list(_real(slices)), list(_made_up(phantoms))
    rows, patients = zip(*real, *made, strict=True)
    trained_on = (
        f"{len(real) // 2} original CT slices of {len({patient for _, patient in real})} patients and "
        f"{len(made) // 2} slices of {phantoms} made-up ones"
    )
    return Familiarity.fit(np.stack(rows), patients, kept=_KEPT, margin=_MARGIN), trained_on


def _real(folder: Path) -> Iterator[_Row]:
    for file in slice_files(folder):
        one = read_slice(file)
        if is_held_out(one.patient):
            continue
        hu = to_matrix(torch.from_numpy(one.hu.astype(np.float32))[None])[0].numpy()
        yield from _twice(hu, one.spacing_mm * one.hu.shape[0], one.patient, zlib.crc32(file.name.encode()))


def _made_up(phantoms: int) -> Iterator[_Row]:
    for seed in range(phantoms):
        for index, hu in enumerate(anatomy(seed, _PHANTOM_SLICES, SIZE, _PHANTOM_FIELD_MM)):
            yield from _twice(hu, _PHANTOM_FIELD_MM, f"phantom {seed}", index)


def _twice(hu: FloatArray, field_of_view_mm: float, patient: str, seed: int) -> Iterator[_Row]:
    rng = np.random.default_rng(seed)
    noisy = hu + kernel_noise(rng, SIZE, float(np.exp(rng.uniform(*np.log(_NOISE_HU)))))
    for picture in (hu, noisy):
        yield composition(picture, find_anatomy(picture), field_of_view_mm), patient


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m ctiqa_models.trunk.fit", description="Learn what trunks are.")
    parser.add_argument("--data", type=Path, required=True, help="folder of training slices (.npz)")
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    arguments = parser.parse_args()
    familiarity, trained_on = fit(arguments.data)
    metadata = {"model": "trunk", "trained_on": trained_on}
    file = weights.save(arguments.out, familiarity.to_tensors(PREFIX), metadata)
    print(f"{file.sha256}  {file.path}: {trained_on}")  # noqa: T201 - the command's answer


if __name__ == "__main__":
    main()
