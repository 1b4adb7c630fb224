"""CT slices of real size to send: a simulated chest, written once, and given new UIDs before each sending."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
from pydicom import dcmread

from ctiqa_models.simulation.phantom import anatomy
from ctiqa_node.ct.writer import SeriesTags, write_series

SIZE = 512
FIELD_MM = 400.0
DRAWN = 50
"""So many slices of the phantom are drawn; a series of more has each of them several times, with other noise."""
NOISE_HU = 20.0
REFORMAT = ("DERIVED", "SECONDARY", "MPR")
"""An Image Type that our node keeps and does not assess."""
_HEADER_BYTES = 1 << 14


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a UID stands in a file, and how long it is."""

    offset: int
    length: int


class SlicesOnDisk:
    """Files of one CT series. `renew` makes another series of them: only the UIDs are written anew, in place."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        self._series: list[tuple[_Place, ...]] = []
        self._study: list[tuple[_Place, ...]] = []
        self._instance: list[tuple[_Place, ...]] = []
        for path in paths:
            header = dcmread(path, stop_before_pixels=True)
            start = path.open("rb").read(_HEADER_BYTES)
            self._series.append(_places(start, header.SeriesInstanceUID))
            self._study.append(_places(start, header.StudyInstanceUID))
            self._instance.append(_places(start, header.SOPInstanceUID))

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def bytes(self) -> int:
        """The size of all files together."""
        return sum(path.stat().st_size for path in self.paths)

    def renew(self) -> str:
        """New UIDs of study, series and instances; tells the Series Instance UID."""
        series, study = _uid(self._series[0][0].length), _uid(self._study[0][0].length)
        for path, *places in zip(self.paths, self._series, self._study, self._instance, strict=True):
            instance = _uid(places[2][0].length)
            with path.open("r+b") as file:
                for uid, where in zip((series, study, instance), places, strict=True):
                    for place in where:
                        file.seek(place.offset)
                        file.write(uid.encode())
        return series


def write_slices(folder: Path, count: int, scratch: Path, image_type: tuple[str, ...] | None = None) -> SlicesOnDisk:
    """Write a chest of `count` slices of 512 × 512, 16 bit, uncompressed. `scratch` keeps what takes long to draw."""
    tags = SeriesTags()
    if image_type is not None:
        tags = replace(tags, image_type=image_type)
    planes = cast("npt.NDArray[np.float32]", _Planes(count, _drawn(scratch)))  # it is only counted and gone through
    pixel_mm = FIELD_MM / SIZE
    return SlicesOnDisk(write_series(planes, (FIELD_MM / count, pixel_mm, pixel_mm), folder, tags=tags))


@dataclass(frozen=True, slots=True)
class _Planes:
    """The slices of a series in HU, made one by one: three thousand at once are gigabytes."""

    count: int
    drawn: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[npt.NDArray[np.float32]]:
        noise = np.random.default_rng(11).normal(0.0, NOISE_HU, (2 * SIZE, SIZE)).astype(np.float32)
        for index in range(self.count):
            first = index * 97 % SIZE
            yield self.drawn[index * len(self.drawn) // self.count] + noise[first : first + SIZE]


def _drawn(scratch: Path) -> npt.NDArray[np.float32]:
    path = scratch / f"anatomy-{DRAWN}-{SIZE}.npy"
    if not path.is_file():
        np.save(path, anatomy(5, DRAWN, SIZE, FIELD_MM))
    return cast("npt.NDArray[np.float32]", np.load(path))


def _places(start: bytes, uid: str) -> tuple[_Place, ...]:
    wanted, found, at = uid.encode(), [], 0
    while (at := start.find(wanted, at)) >= 0:
        found.append(_Place(at, len(wanted)))
        at += len(wanted)
    assert found, f"{uid} does not stand in the first {_HEADER_BYTES} bytes"
    return tuple(found)


def _uid(length: int) -> str:
    """A new UID of so many characters (2.25: PS3.5 B.2; of any length here, for it lives as long as the benchmark)."""
    digits = length - len("2.25.")
    return f"2.25.{1 + secrets.randbelow(9)}{secrets.randbelow(10 ** (digits - 1)):0{digits - 1}d}"
