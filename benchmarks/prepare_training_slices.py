"""Turn a folder of CT slices (DICOM) into training slices (.npz), as `ctiqa_models.data.slices` reads them.

    python benchmarks/prepare_training_slices.py CTIQA_DATA/slices OUT

Each file holds `hu` (int16 [y, x]), `spacing_mm` (row, column spacing) and `patient`, by which training is split.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pydicom
from pydicom.pixels.processing import apply_rescale
from rich.progress import track


def convert(source: Path, target: Path) -> None:
    dataset = pydicom.dcmread(source)
    hu = apply_rescale(dataset.pixel_array, dataset)
    np.savez_compressed(
        target,
        hu=np.clip(np.rint(hu), -32768, 32767).astype(np.int16),
        spacing_mm=np.asarray(dataset.PixelSpacing, dtype=np.float64),
        patient=str(dataset.PatientID),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="CT slices (DICOM) to training slices (.npz)")
    parser.add_argument("slices", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for source in track(sorted(arguments.slices.glob("*.dcm")), description="converting"):
        convert(source, arguments.out / f"{source.stem}.npz")


if __name__ == "__main__":
    main()
