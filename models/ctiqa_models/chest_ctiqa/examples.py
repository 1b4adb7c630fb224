"""Training examples on disk: each body's series in the network's form with their labels, made once and then kept."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ctiqa_models.api import HuVolume
from ctiqa_models.chest_ctiqa.build import Build, build_of
from ctiqa_models.chest_ctiqa.labels import window_of_kernel
from ctiqa_models.chest_ctiqa.preprocess import Shape, slice_channels, slice_maps
from ctiqa_models.chest_ctiqa.recipe import Recipe
from ctiqa_models.chest_ctiqa.volumes import AS_IT_CAME, Series, phantom_name, phantom_series, stack_series, stacks
from ctiqa_models.classical import Brisque, Snr

_log = logging.getLogger(__name__)

NO_CLASS = -100
"""A class that nobody knows; torch's cross-entropy leaves it out."""

_SLICE_MM = 3.0

_Maker = Callable[[], Iterable[Series]]


@dataclass(frozen=True, slots=True)
class Example:
    """One series. `maps` are its `slice_maps` [c, z, size, size]; `snr` and `brisque` are those of each slice [z] at
    full resolution, NaN where a slice has none; classes are NO_CLASS where unknown."""

    maps: torch.Tensor
    pixel_mm: float
    field_of_view_mm: float
    patient: str
    origin: str
    kernel: str
    window: int
    exposure: int
    snr: npt.NDArray[np.float64]
    brisque: npt.NDArray[np.float64]
    builds: tuple[Build, ...]


def example_of(series: Series, channels: torch.Tensor, shape: Shape, brisque: Brisque) -> Example:
    """A series by its `slice_channels`, with what the network is to predict of it measured."""
    volume = HuVolume(series.hu.numpy(), (_SLICE_MM, series.pixel_mm, series.pixel_mm))
    return Example(
        maps=slice_maps(channels, series.pixel_mm, shape),
        pixel_mm=series.pixel_mm,
        field_of_view_mm=series.pixel_mm * series.hu.shape[-1],
        patient=series.patient,
        origin=series.origin,
        kernel=series.kernel,
        window=NO_CLASS if series.window is None else int(series.window),
        exposure=NO_CLASS if series.exposure is None else int(series.exposure),
        snr=_per_slice(Snr(), "snr", volume),
        brisque=_per_slice(brisque, "brisque", volume),
        builds=tuple(build_of(series.hu, series.pixel_mm)),
    )


def _per_slice(measure: Snr | Brisque, name: str, volume: HuVolume) -> npt.NDArray[np.float64]:
    values = np.full(len(volume.hu), np.nan)
    for one in measure.assess(volume, lambda _: None).measurements:
        if one.name == name and one.slice_index is not None:
            values[one.slice_index] = one.value
    return values


def make_examples(
    folder: Path,
    slices: Path | None,
    recipe: Recipe,
    processes: int = 1,
    wanted: Callable[[str], bool] = lambda _: True,
) -> None:
    """Simulate the examples of `wanted` patients and phantoms into `folder`, one file a body.

    What an earlier run has made is left alone. A file is written under another name first, so that a run that was
    stopped leaves whole ones only.
    """
    shape = recipe.shape
    folder.mkdir(parents=True, exist_ok=True)
    jobs: list[tuple[str, _Maker]] = []
    if slices is not None:
        found = [stack for stack in stacks(slices, shape.slices) if wanted(stack.patient)]
        jobs += [(f"stack-{stack.name}", partial(stack_series, stack, recipe.draws)) for stack in found]
    seeds = [seed for seed in range(recipe.phantoms) if wanted(phantom_name(seed))]
    jobs += [(phantom_name(seed), partial(phantom_series, seed, shape.slices, recipe.matrix)) for seed in seeds]
    missing = [(folder / f"{name}.npz", make) for name, make in jobs if not (folder / f"{name}.npz").exists()]
    _log.info("%d bodies, %d of them still to simulate", len(jobs), len(missing))
    for done, _ in enumerate(_made(shape, missing, processes), start=1):
        if done % 20 == 0:
            _log.info("%d of %d bodies simulated", done, len(missing))


def _made(shape: Shape, missing: Sequence[tuple[Path, _Maker]], processes: int) -> Iterator[Path]:
    """Make each of the missing files, in this process or in several."""
    if processes == 1:
        yield from (_make_file(shape, file, make) for file, make in missing)
    elif missing:
        # Spawned, not forked: torch's thread pools do not survive a fork.
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
            yield from pool.map(partial(_make_file, shape), *zip(*missing, strict=True))


def _one_thread() -> None:
    torch.set_num_threads(1)


def _make_file(shape: Shape, file: Path, make: _Maker) -> Path:
    brisque = Brisque()
    examples, kept = [], []
    for series in make():
        channels = slice_channels(series.hu, series.pixel_mm, shape)
        examples.append(example_of(series, channels, shape, brisque))
        kept.append(channels.numpy().astype(np.float16))
    part = file.with_suffix(".part")
    with part.open("wb") as stream:
        np.savez(stream, allow_pickle=False, channels=np.stack(kept), **_arrays(examples))
    part.replace(file)
    return file


def _arrays(examples: Sequence[Example]) -> dict[str, npt.NDArray[Any]]:
    """Series of one body share pixel size, matrix and number of slices."""
    return {
        "pixel_mm": np.asarray([one.pixel_mm for one in examples]),
        "field_of_view_mm": np.asarray([one.field_of_view_mm for one in examples]),
        "patient": np.asarray([one.patient for one in examples]),
        "origin": np.asarray([one.origin for one in examples]),
        "kernel": np.asarray([one.kernel for one in examples]),
        "window": np.asarray([one.window for one in examples]),
        "exposure": np.asarray([one.exposure for one in examples]),
        "snr": np.stack([one.snr for one in examples]),
        "brisque": np.stack([one.brisque for one in examples]),
        "builds": np.asarray([[(b.body_cm2, b.lung_share) for b in one.builds] for one in examples]),
        "strangers": np.asarray([[b.stranger for b in one.builds] for one in examples]),
    }


def load_examples(folder: Path, shape: Shape) -> list[Example]:
    """All examples of a folder, as a network of this shape sees them; ValueError when there are none, or others.

    The window class of series as they came is read off their kernel again, in case the table has grown.
    """
    files = sorted(folder.glob("*.npz"))
    if not files:
        raise ValueError(f"no examples: {folder} holds no .npz file")
    return [one for file in files for one in _load_file(file, shape)]


def _load_file(file: Path, shape: Shape) -> Iterator[Example]:
    with np.load(file) as kept:
        columns = {name: kept[name] for name in kept.files}
    if columns["channels"].shape[-1] != shape.measured:
        raise ValueError(f"{file} was made for another recipe; choose another folder, or delete this one")
    for index in range(len(columns["channels"])):
        origin, kernel = str(columns["origin"][index]), str(columns["kernel"][index])
        window = int(columns["window"][index])
        if origin == AS_IT_CAME:
            known = window_of_kernel(kernel)
            window = NO_CLASS if known is None else int(known)
        yield Example(
            maps=slice_maps(torch.from_numpy(columns["channels"][index]), float(columns["pixel_mm"][index]), shape),
            pixel_mm=float(columns["pixel_mm"][index]),
            field_of_view_mm=float(columns["field_of_view_mm"][index]),
            patient=str(columns["patient"][index]),
            origin=origin,
            kernel=kernel,
            window=window,
            exposure=int(columns["exposure"][index]),
            snr=columns["snr"][index],
            brisque=columns["brisque"][index],
            builds=tuple(
                Build(float(body), float(lung), str(stranger))
                for (body, lung), stranger in zip(columns["builds"][index], columns["strangers"][index], strict=True)
            ),
        )
