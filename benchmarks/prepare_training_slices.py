"""Turn a folder of CT slices (DICOM) into training slices (.npz), as `ctiqa_models.data.slices` reads them.

    python benchmarks/prepare_training_slices.py CTIQA_DATA/slices OUT

`ctiqa-node train --data` reads DICOM too, by series; this keeps a folder of single slices, each under its own name.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pydicom
from pydicom.multival import MultiValue
from pydicom.pixels.processing import apply_rescale
from rich.progress import track

from ctiqa_models.data.slices import TrainingSlice, write_slice


def convert(source: Path, target: Path) -> None:
    dataset = pydicom.dcmread(source)
    hu = apply_rescale(dataset.pixel_array, dataset)
    one = TrainingSlice(
        hu=np.clip(np.rint(hu), -32768, 32767).astype(np.int16),
        spacing_mm=float(dataset.PixelSpacing[0]),
        patient=str(dataset.PatientID),
        kernel=_text(dataset.get("ConvolutionKernel")),
        thickness_mm=float(dataset.get("SliceThickness") or 0),
    )
    write_slice(target, one)


def _text(value: str | MultiValue[str] | None) -> str:
    """Convolution Kernel may have several values, as Siemens writes it; they stay apart by a backslash."""
    return "" if value is None else value if isinstance(value, str) else "\\".join(value)


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
