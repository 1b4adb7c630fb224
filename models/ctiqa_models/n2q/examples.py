"""Training examples of N2Q: slices beside the noise that the reference scanner adds to them at full dose.

Noise is simulated once, at full resolution, and kept at the network's resolution. Any amount of it gives any dose,
because resizing and the dose formula of N2Q are both linear in HU.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from ctiqa_models.data.slices import read_slice, slice_files
from ctiqa_models.n2q.body import find_anatomy, quietest_deviation
from ctiqa_models.n2q.denoise import total_variation
from ctiqa_models.n2q.preprocess import SIZE, to_matrix
from ctiqa_models.n2q.scanner import full_dose_mas
from ctiqa_models.resample import resize
from ctiqa_models.simulation.dose import REFERENCE_SCANNER, noise_of_sinogram, project
from ctiqa_models.simulation.phantom import anatomy
from ctiqa_models.simulation.projector import STANDARD, Kernel, ParallelGeometry

REALISATIONS = 3
_PHANTOM_SIZE = 512
_FARTHEST_MM = 133.0
_HalfFloats = npt.NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class Example:
    """One slice at 256×256, HU in float16.

    `hu` is the slice as it came and `clean` without its noise (the same for a phantom). `noise` [2, 3, 256, 256] is
    that of full dose (twice as much is a quarter dose): three realisations with the `STANDARD` kernel, and three with
    one drawn at random. `is_phantom` tells a drawn slice from a real one.
    """

    hu: _HalfFloats
    clean: _HalfFloats
    noise: _HalfFloats
    fov_mm: float
    patient: str
    is_phantom: bool


def save_example(file: Path, one: Example) -> None:
    """Keep an example, so that the next training need not simulate it again; whole or not at all."""
    fresh = file.with_suffix(".new")
    with fresh.open("wb") as stream:
        np.savez(
            stream,
            hu=one.hu,
            clean=one.clean,
            noise=one.noise,
            fov_mm=one.fov_mm,
            patient=one.patient,
            is_phantom=one.is_phantom,
        )
    fresh.replace(file)


def load_example(file: Path) -> Example:
    """An example that `save_example` kept."""
    with np.load(file) as kept:
        return Example(
            hu=kept["hu"],
            clean=kept["clean"],
            noise=kept["noise"],
            fov_mm=float(kept["fov_mm"]),
            patient=str(kept["patient"]),
            is_phantom=bool(kept["is_phantom"]),
        )


def slices_to_simulate(folder: Path, wanted: Callable[[str], bool], most_per_patient: int | None) -> list[Path]:
    """Slices of the patients that are `wanted`; of a patient with more than the most, some spread evenly.

    Neighbouring slices of one body teach little that is new, and simulating one takes two seconds.
    """
    of_patient: dict[str, list[Path]] = {}
    for file in slice_files(folder):
        with np.load(file) as kept:
            of_patient.setdefault(str(kept["patient"]), []).append(file)
    chosen: list[Path] = []
    for patient, files in of_patient.items():
        if wanted(patient):
            few = len(files) if most_per_patient is None else min(len(files), most_per_patient)
            chosen += [files[int(place)] for place in np.linspace(0, len(files) - 1, few).round()]
    return sorted(chosen)


def simulate_slices(files: Iterable[Path], cache: Path, processes: int = 1) -> Iterator[Example]:
    """The examples of training slices, one by one; `cache` keeps them, and what it holds is not simulated again."""
    yield from _all((partial(_simulate_file, file, cache / f"{file.stem}.npz") for file in files), cache, processes)


def simulate_phantoms(count: int, cache: Path, processes: int = 1) -> Iterator[Example]:
    """The examples of `count` drawn anatomies, one slice of each, at every height between the kidneys and the lungs."""
    tasks = (partial(_simulate_phantom, seed, cache / f"phantom-{seed:04d}.npz") for seed in range(count))
    yield from _all(tasks, cache, processes)


def _all(tasks: Iterable[Callable[[], Example]], cache: Path, processes: int) -> Iterator[Example]:
    cache.mkdir(parents=True, exist_ok=True)
    if processes == 1:
        yield from (task() for task in tasks)
        return
    # Spawned, not forked: torch's thread pools do not survive a fork.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_alone, tasks)


def _alone(task: Callable[[], Example]) -> Example:
    torch.set_num_threads(1)
    return task()


def _simulate_file(source: Path, kept: Path) -> Example:
    if kept.exists():
        return load_example(kept)
    one = read_slice(source)
    hu = torch.from_numpy(one.hu.astype(np.float32))
    example = _simulate(hu, one.spacing_mm, one.patient, is_phantom=False, seed=zlib.crc32(source.name.encode()))
    save_example(kept, example)
    return example


def _simulate_phantom(seed: int, kept: Path) -> Example:
    if kept.exists():
        return load_example(kept)
    hu, pixel_mm = draw_phantom(seed)
    example = _simulate(hu, pixel_mm, f"phantom-{seed}", is_phantom=True, seed=seed)
    save_example(kept, example)
    return example


def draw_phantom(seed: int) -> tuple[torch.Tensor, float]:
    """One slice [512, 512] of a drawn anatomy at any height, in HU, and the side of its pixels in mm."""
    generator = np.random.default_rng(seed)
    fov_mm = float(generator.uniform(360, 480))
    # The outer ones of three slices, as far apart as drawn, lie at any height; a single one would always be the middle.
    three = anatomy(seed, 3, _PHANTOM_SIZE, fov_mm, slice_mm=float(generator.uniform(1, _FARTHEST_MM)))
    return torch.from_numpy(three[2 * int(generator.integers(2))]), fov_mm / _PHANTOM_SIZE


def _simulate(hu: torch.Tensor, pixel_mm: float, patient: str, is_phantom: bool, seed: int) -> Example:
    generator = torch.Generator().manual_seed(seed)
    small = to_matrix(hu[None])
    sinogram, geometry = _line_integrals(small, pixel_mm, hu.shape[-1])
    dose = full_dose_mas(sinogram[0], geometry) / REFERENCE_SCANNER.full_mas
    thrice = sinogram.expand(REALISATIONS, -1, -1)
    noise = [
        resize(noise_of_sinogram(thrice, geometry, dose, generator, kernel), (SIZE, SIZE))
        for kernel in (STANDARD, _any_kernel(generator))
    ]
    return Example(
        hu=_half(small[0]),
        clean=_half(small[0] if is_phantom else _denoised(small)[0]),
        noise=_half(torch.stack(noise)),
        fov_mm=pixel_mm * hu.shape[-1],
        patient=patient,
        is_phantom=is_phantom,
    )


def _line_integrals(small: torch.Tensor, pixel_mm: float, size: int) -> tuple[torch.Tensor, ParallelGeometry]:
    """Sinogram and geometry of a slice of `size` × `size` pixels, from the same slice at 256×256.

    Noise asks only how much each ray is attenuated, which changes little from one detector element to the next: the
    coarse slice's integrals, interpolated, serve as well and cost a quarter.
    """
    coarse, geometry = project(small, pixel_mm * size / SIZE)
    sinogram = functional.interpolate(coarse, size=size, mode="linear", align_corners=False)
    return sinogram, replace(geometry, detectors=size, pixel_mm=pixel_mm, size=size)


def _any_kernel(generator: torch.Generator) -> Kernel:
    """From smoother than a soft-tissue kernel to an edge-enhancing bone kernel."""
    cutoff, boost, sharpened = torch.rand(3, generator=generator).tolist()
    return Kernel(0.5 + 1.5 * cutoff, boost if sharpened < 1 / 3 else 0.0)


def _denoised(hu: torch.Tensor) -> torch.Tensor:
    """A slice [1, 256, 256] denoised by about as much as its quietest fifth of tissue is noisy."""
    strength = quietest_deviation(hu[0].numpy(), find_anatomy(hu[0].numpy()))
    return total_variation(hu, torch.tensor([strength]))


def _half(hu: torch.Tensor) -> _HalfFloats:
    return hu.clamp(-32000, 32000).numpy().astype(np.float16)
