"""Pictures with scores, wherever they come from: what both phases of a training draw from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ctiqa_models.api import ByteArray
from ctiqa_models.data import ldctiqac
from ctiqa_models.data.kadid import read_kadid
from ctiqa_models.data.photos import read_photo
from ctiqa_models.data.split import is_held_out
from ctiqa_models.simulation.labels import QuantileMap, Values
from ctiqa_models.tfkt.photographs import DistortedPhoto, grey
from ctiqa_models.tfkt.pictures import Picture
from ctiqa_models.tfkt.preprocess import LDCTIQAC, stretched

_KNOTS = 201
_LOWEST_MOS, _STEPS_OF_MOS, _STEP_OF_MOS = 1.0, 21, 0.2


@dataclass(frozen=True, slots=True)
class Example:
    """A picture, which `load` brings as the network takes it ([y, x] in 0–1), its score and whose it is."""

    load: Callable[[], torch.Tensor]
    score: float
    group: str
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Sides:
    """The examples that train, and those that validate."""

    training: list[Example]
    validation: list[Example]


def simulated(folder: Path, pictures: Sequence[Picture]) -> tuple[Sides, QuantileMap]:
    """The made pictures and their scores: VIF, mapped so that those that train are spread as the readers' scores."""
    known = [picture.vif for picture in pictures if not is_held_out(picture.patient)]
    curve = thinned(QuantileMap.fit(known))
    return _sides(examples_of(folder, pictures, curve)), curve


def examples_of(folder: Path, pictures: Sequence[Picture], curve: QuantileMap) -> list[Example]:
    """The made pictures with scores by a curve that a training fitted."""
    return [
        Example(partial(picture_input, folder / one.file, one.index), float(score), one.patient, one.kind)
        for one, score in zip(pictures, curve.apply([one.vif for one in pictures]), strict=True)
    ]


def ldctiqac_slices(folder: Path) -> Sides:
    """LDCTIQAC 2023 with its radiologists' scores, 800 and 200 of the 1,000."""
    sides = ldctiqac.split(ldctiqac.read_ldctiqac(folder))
    training, validation = ([Example(partial(_ldctiqac, o.file), o.score, o.file.stem) for o in side] for side in sides)
    return Sides(training, validation)


def kadid_photos(folder: Path) -> Sides:
    """KADID-10k with its mean opinion scores, split by reference."""
    return _sides([Example(partial(_kadid, one.file), one.score, one.reference) for one in read_kadid(folder)])


def distorted_photos(folder: Path, photos: Sequence[DistortedPhoto]) -> Sides:
    """Our own distorted photographs: the ranks of both indices on the scale of the opinion scores, averaged."""
    trained = [not is_held_out(one.photo) for one in photos]
    scores = (_ranked([o.haarpsi for o in photos], trained) + _ranked([-o.gmsd for o in photos], trained)) / 2
    return _sides(
        [
            Example(partial(_photo, folder / one.file, one.index), float(score), one.photo, str(one.distortion))
            for one, score in zip(photos, scores, strict=True)
        ]
    )


def odds(examples: Sequence[Example]) -> torch.Tensor:
    """How often each example is to be drawn: a patient, and a kind, with many counts for the square root of them.

    Otherwise what is drawn is mostly less dose, and smoothed and faulty pictures stay badly known.
    """
    patients = Counter(example.group for example in examples)
    kinds = Counter(example.kind for example in examples)
    return torch.tensor([(patients[example.group] * kinds[example.kind]) ** -0.5 for example in examples])


def thinned(curve: QuantileMap) -> QuantileMap:
    """A quantile map of at most 201 points, evenly spread over its quantiles: short enough to ship."""
    chosen = np.unique(np.linspace(0, len(curve.values) - 1, _KNOTS).round().astype(int))
    return QuantileMap(tuple(curve.values[i] for i in chosen), tuple(curve.scores[i] for i in chosen))


def picture_hu(file: Path, index: int) -> torch.Tensor:
    """One made picture in HU [n, n]."""
    return torch.from_numpy(_stack(file)[index].astype(np.float32))


def picture_input(file: Path, index: int) -> torch.Tensor:
    """One made picture as phase 2 sees it, at its own size."""
    hu = picture_hu(file, index)
    return stretched(LDCTIQAC.apply(hu)[None])[0]


def _ranked(values: list[float], trained: list[bool]) -> Values:
    """Values by their ranks among those that train, on the scale 1–5."""
    curve = QuantileMap.fit(
        [v for v, known in zip(values, trained, strict=True) if known], [1] * _STEPS_OF_MOS, _STEP_OF_MOS
    )
    return _LOWEST_MOS + curve.apply(values)


def _sides(examples: Sequence[Example]) -> Sides:
    held_out = {group: is_held_out(group) for group in {example.group for example in examples}}
    return Sides([e for e in examples if not held_out[e.group]], [e for e in examples if held_out[e.group]])


def _ldctiqac(file: Path) -> torch.Tensor:
    return stretched(torch.from_numpy(ldctiqac.read_image(file))[None])[0]


def _kadid(file: Path) -> torch.Tensor:
    return _unit(grey(read_photo(file)))


def _photo(file: Path, index: int) -> torch.Tensor:
    return _unit(_stack(file)[index])


def _unit(picture: ByteArray) -> torch.Tensor:
    return torch.from_numpy(np.array(picture, dtype=np.float32) / 255.0)


@cache
def _stack(file: Path) -> npt.NDArray[Any]:
    """A file of pictures, left on the disk until one of them is asked for."""
    stack: npt.NDArray[Any] = np.load(file, mmap_mode="r")
    return stack
