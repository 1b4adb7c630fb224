"""A CT series of real size as files, in the transfer syntaxes that archives send: simulated, kept for the next run."""

from __future__ import annotations

from pathlib import Path

import gdcm
import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
)

from bench.timing import say
from ctiqa_models.simulation.series import Scan, simulate_series
from ctiqa_node.ct.writer import Placement, SeriesTags, write_series

SIZE = 512
_PART = 100
_SIMULATED = 10
"""So many slices are scanned; the others are these, turned and with a grain of noise of their own."""

SYNTAXES: dict[str, UID] = {
    "uncompressed": ExplicitVRLittleEndian,
    "JPEG lossless": JPEGLosslessSV1,
    "JPEG-LS": JPEGLSLossless,
    "JPEG 2000": JPEG2000Lossless,
}


def series_files(scratch: Path, slices: int, name: str = "uncompressed") -> list[Path]:
    """The files of a series of so many slices of 512 × 512, chest anatomy with quantum noise, 12 bits of 16."""
    folder = scratch / f"series-{slices}-{name.lower().replace(' ', '-')}"
    found = sorted(folder.rglob("*.dcm"))
    if len(found) == slices:
        return found
    folder.mkdir(exist_ok=True)
    say(f"making {slices} slices, {name}")
    if name == "uncompressed":
        _write(folder, _scanned(scratch), slices)
    else:
        for number, source in enumerate(series_files(scratch, slices)):
            _encode(source, folder / f"{number:05d}.dcm", SYNTAXES[name])
    return sorted(folder.rglob("*.dcm"))


def _scanned(scratch: Path) -> npt.NDArray[np.int16]:
    kept = scratch / "anatomy.npy"
    if not kept.exists():
        np.save(kept, simulate_series(3, _SIMULATED, SIZE, Scan(0.5)).hu.astype(np.int16))
    found: npt.NDArray[np.int16] = np.load(kept)
    return found


def _write(folder: Path, scanned: npt.NDArray[np.int16], slices: int) -> None:
    """A part at a time, so that making a long series takes no more memory than a short one."""
    tags, generator = SeriesTags(), np.random.default_rng(5)
    for first in range(0, slices, _PART):
        made = np.empty((min(_PART, slices - first), SIZE, SIZE), dtype=np.float32)
        for z in range(len(made)):
            turned = np.rot90(scanned[(first + z) % _SIMULATED], (first + z) // _SIMULATED)
            made[z] = np.where(turned > -1024, turned + generator.integers(-2, 3, turned.shape), turned)
        placement = Placement(first_mm=(0.0, 0.0, float(first)))
        write_series(made, (1.0, 0.78, 0.78), folder / f"from-{first:05d}", tags=tags, placement=placement)


def _encode(source: Path, target: Path, syntax: UID) -> None:
    if syntax != JPEGLosslessSV1:
        dataset = pydicom.dcmread(source)
        dataset.compress(syntax, generate_instance_uid=False)
        dataset.save_as(target)
        return
    # pydicom has no encoder of JPEG lossless.
    reader = gdcm.ImageReader()
    reader.SetFileName(str(source))
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    if not reader.Read():
        raise RuntimeError(f"GDCM cannot read {source}")
    change.SetInput(reader.GetImage())
    writer = gdcm.ImageWriter()
    if not change.Change():
        raise RuntimeError(f"GDCM cannot encode {source}")
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(target))
    if not writer.Write():
        raise RuntimeError(f"GDCM cannot write {target}")
