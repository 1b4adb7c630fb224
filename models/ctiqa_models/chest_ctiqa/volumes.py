"""The series that Chest CT-IQA learns from: scans of made-up and of real chests on the virtual scanner, and real ones
as they came."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ctiqa_models.chest_ctiqa.build import CHEST_SHARE, build_of
from ctiqa_models.chest_ctiqa.labels import Window, window_of_kernel
from ctiqa_models.chest_ctiqa.preprocess import evenly_spaced
from ctiqa_models.chest_ctiqa.scanner import KERNELS, Exposure, noise_of, reconstruct, sharpen, take
from ctiqa_models.data.slices import read_slice, slice_files
from ctiqa_models.n2q.body import find_anatomy, quietest_deviation
from ctiqa_models.n2q.denoise import total_variation
from ctiqa_models.simulation.phantom import anatomy

PHANTOM, DENOISED, AS_IT_CAME, SHARPENED = "phantom", "denoised", "as it came", "sharpened"

_PADDING_HU = -1024.0
_FIELDS_OF_VIEW_MM = (340.0, 460.0)
_BOOSTS = (3.0, 8.0)


@dataclass(frozen=True, slots=True)
class Series:
    """One series: float32 HU [z, n, n], what is known of it, and where it is from (one of this module's four words)."""

    hu: torch.Tensor
    pixel_mm: float
    patient: str
    origin: str
    window: Window | None = None
    exposure: Exposure | None = None
    kernel: str = ""


@dataclass(frozen=True, slots=True)
class Stack:
    """Real slices of one patient and one reconstruction, at most as many as the network takes."""

    files: tuple[Path, ...]
    patient: str

    @property
    def name(self) -> str:
        """For the file that keeps its examples."""
        joined = "".join(file.name for file in self.files)
        return f"{self.files[0].stem}-{zlib.crc32(joined.encode()):08x}"


def phantom_series(seed: int, slices: int, size: int = 512) -> Iterator[Series]:
    """A made-up chest under both exposures, each with a kernel for lung and one for soft tissue: four series."""
    draw = np.random.default_rng((seed, 1))
    field_of_view_mm = float(draw.uniform(*_FIELDS_OF_VIEW_MM))
    # Phantoms begin below the kidneys; their uppermost slices are the chest.
    drawn = anatomy(seed, slices + int(draw.integers(3, 7)), size, field_of_view_mm)[-slices:]
    hu = torch.from_numpy(drawn)
    outside = _outside_circle(size)
    hu[:, outside] = -1000.0
    yield from _scans(hu, field_of_view_mm / size, phantom_name(seed), PHANTOM, outside, seed)


def phantom_name(seed: int) -> str:
    """What stands for a patient in the split."""
    return f"phantom-{seed}"


def stacks(folder: Path, slices: int) -> list[Stack]:
    """The chests among a folder of training slices; many slices of a reconstruction make several interleaved stacks."""
    groups: dict[tuple[str, str, float, float], list[Path]] = defaultdict(list)
    for file in slice_files(folder):
        one = read_slice(file)
        groups[one.patient, one.kernel, one.thickness_mm, one.spacing_mm].append(file)
    found: list[Stack] = []
    for (patient, *_), files in groups.items():
        parts = max(1, len(files) // slices)
        for part in range(parts):
            every = files[part::parts]
            stack = Stack(tuple(every[index] for index in evenly_spaced(len(every), slices)), patient)
            if is_chest(*read_stack(stack)[:2]):
                found.append(stack)
    return found


def read_stack(stack: Stack) -> tuple[torch.Tensor, float, str, str]:
    """HU [z, n, n], the side of a pixel in mm, the patient and the kernel."""
    read = [read_slice(file) for file in stack.files]
    hu = torch.from_numpy(np.stack([one.hu for one in read]).astype(np.float32))
    return hu.clamp(min=_PADDING_HU), read[0].spacing_mm, read[0].patient, read[0].kernel


def is_chest(hu: torch.Tensor, pixel_mm: float) -> bool:
    """Whether lung fills enough of the body, on average over the slices [z, n, n]."""
    return float(np.mean([build.lung_share for build in build_of(hu, pixel_mm)])) >= CHEST_SHARE


def stack_series(stack: Stack, draws: int = 1) -> Iterator[Series]:
    """A real chest: as it came, sharpened when it is smooth, and `draws` times denoised and scanned as phantoms are."""
    hu, pixel_mm, patient, kernel = read_stack(stack)
    seed = zlib.crc32(stack.name.encode())
    window = window_of_kernel(kernel)
    yield Series(hu, pixel_mm, patient, AS_IT_CAME, window, kernel=kernel)
    if window is Window.SOFT_TISSUE:
        boost = float(np.random.default_rng(seed).uniform(*_BOOSTS))
        yield Series(sharpen(hu, boost), pixel_mm, patient, SHARPENED, Window.LUNG)
    padding = (hu <= _PADDING_HU) & _outside_circle(hu.shape[-1])
    clean = _denoised(hu)
    for index in range(draws):
        yield from _scans(clean, pixel_mm, patient, DENOISED, padding, seed + index)


def _scans(
    hu: torch.Tensor, pixel_mm: float, patient: str, origin: str, padding: torch.Tensor, seed: int
) -> Iterator[Series]:
    """Both exposures of a clean body; each scan is reconstructed for lung and for soft tissue, as scanners do."""
    generator = torch.Generator().manual_seed(seed)
    projected = take(hu, pixel_mm)
    for exposure in Exposure:
        noise = noise_of(projected, exposure, generator)
        for window, kernels in KERNELS.items():
            kernel = kernels[int(torch.randint(len(kernels), (1,), generator=generator))]
            series = reconstruct(projected, noise, kernel, drawn=origin == PHANTOM)
            series[..., :] = torch.where(padding, _PADDING_HU, series)
            yield Series(series, pixel_mm, patient, origin, window, exposure)


def _denoised(hu: torch.Tensor) -> torch.Tensor:
    """Each slice by total variation, as strongly as its quietest fifth of tissue is noisy."""
    strengths: Sequence[float] = [quietest_deviation(one, find_anatomy(one)) for one in hu.numpy()]
    return total_variation(hu, torch.tensor(strengths))


def _outside_circle(size: int) -> torch.Tensor:
    axis = torch.arange(size) - (size - 1) / 2
    return torch.hypot(axis[:, None], axis[None]) > size / 2
