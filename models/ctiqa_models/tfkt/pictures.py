"""The pictures of phase 2: each slice at many doses and numbers of views, smoothed or faulty, with its index.

Made once and kept: a slice is projected, its errors are reconstructed in batches (filtered back-projection is linear,
so the noise and the streaks of a picture are one reconstruction), and each picture is compared with the denoised slice.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ctiqa_models.simulation.distortions_ct import Projections, take_projections
from ctiqa_models.simulation.dose import REFERENCE_SCANNER, count_error
from ctiqa_models.simulation.labels import SOFT_TISSUE, vif_under_window
from ctiqa_models.simulation.projector import MU_WATER_PER_MM, Kernel, filtered_back_projection
from ctiqa_models.tfkt.bases import HIGHEST_HU, LOWEST_HU, Base, phantom_base, slice_base
from ctiqa_models.tfkt.faults import lost_views, smoothed
from ctiqa_models.tfkt.plan import PLAIN, Plan, Smoothing, draw_plans

_HU_PER_MU = 1000.0 / MU_WATER_PER_MM
_MARGIN = 16
_SMALLEST_SIDE = 64

Stack = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture's record: which of its file it is, whose, how it was made and what of the reference is left in it."""

    file: str
    """Name of the .npy that holds it, int16 HU [k, n, n]."""
    index: int
    patient: str
    kind: str
    own_texture: bool
    dose: float | None
    views: int | None
    vif: float


def make_pictures(slices: Sequence[Path], phantoms: Sequence[int], out: Path, size: int, processes: int = 1) -> None:
    """Make the pictures of these slices and of the phantoms of these seeds into `out`; what is there already is kept.

    A slice takes some seven seconds at 512×512. ValueError names a file that is no training slice.
    """
    out.mkdir(parents=True, exist_ok=True)
    jobs = [partial(slice_base, file, size) for file in slices if not _record(out, file.stem).exists()]
    jobs += [partial(phantom_base, seed, size) for seed in phantoms if not _record(out, f"phantom_{seed:04d}").exists()]
    if processes == 1:
        for job in jobs:
            _make(job, out)
        return
    # Spawned, not forked: torch's thread pools do not survive a fork.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for _ in pool.map(partial(_make, out=out), jobs):
            pass


def read_pictures(folder: Path) -> list[Picture]:
    """The records of all pictures of a folder, by file; ValueError when there are none."""
    records = sorted(folder.glob("*.json"))
    if not records:
        raise ValueError(f"{folder} holds no pictures")
    return [Picture(**entry) for record in records for entry in json.loads(record.read_text(encoding="utf-8"))]


def _record(out: Path, name: str) -> Path:
    return out / f"{name}.json"


def _make(job: partial[Base], out: Path) -> None:
    """One slice's pictures, and last of all their record, which says that they are complete."""
    torch.set_num_threads(1)
    base = job()
    # The same slice has the same pictures, whatever lies beside it.
    generator = torch.Generator().manual_seed(zlib.crc32(base.name.encode()))
    plans = draw_plans(generator)
    hu = render(base, plans, generator)
    indices = _vif(hu, base.clean)
    file = out / f"{base.name}.npy"
    np.save(file, hu.round().numpy().astype(np.int16))
    pictures = [
        Picture(file.name, index, base.patient, plan.kind, plan.own_texture, plan.dose, plan.views, vif)
        for index, (plan, vif) in enumerate(zip(plans, indices, strict=True))
    ]
    fresh = _record(out, base.name).with_suffix(".part")
    fresh.write_text(json.dumps([asdict(picture) for picture in pictures]), encoding="utf-8")
    fresh.replace(_record(out, base.name))


def render(base: Base, plans: Sequence[Plan], generator: torch.Generator) -> torch.Tensor:
    """The pictures of a slice in HU [k, n, n], one a plan."""
    projections = take_projections(base.clean, base.pixel_mm, REFERENCE_SCANNER)
    errors = _errors(projections, plans, generator)
    own = torch.tensor([plan.own_texture for plan in plans])[:, None, None]
    # A scanner leaves what lies outside of its field of view at the padding value.
    hu = torch.where(own, base.own, base.clean) + errors * _circle(base.clean.shape[-1])
    rows = [
        smoothed(one, plan.smoothing, plan.amount, base.pixel_mm) if plan.smoothing is not Smoothing.NONE else one
        for one, plan in zip(hu, plans, strict=True)
    ]
    return torch.stack(rows).clamp(LOWEST_HU, HIGHEST_HU)


def _errors(projections: Projections, plans: Sequence[Plan], generator: torch.Generator) -> torch.Tensor:
    """What the acquisitions of the plans add to the slice, in HU [k, n, n]; reconstructed in batches."""
    size = projections.geometry.size
    errors = torch.zeros(len(plans), size, size)
    groups: dict[tuple[int, Kernel], list[int]] = {}
    for index, plan in enumerate(plans):
        if plan.acquired != PLAIN:
            groups.setdefault((plan.views or projections.geometry.views, plan.kernel), []).append(index)
    complete = {
        kernel: _reconstruct(projections.sinogram, projections, kernel)
        for kernel in {kernel for views, kernel in groups if views < projections.geometry.views}
    }
    for (views, kernel), members in groups.items():
        sinograms = torch.cat([_measured(projections, plans[index], views, generator) for index in members])
        reconstructed = _reconstruct(sinograms, projections, kernel)
        if kernel in complete and views < projections.geometry.views:
            reconstructed -= complete[kernel]
        errors[members] = reconstructed
    return errors


def _measured(projections: Projections, plan: Plan, views: int, generator: torch.Generator) -> torch.Tensor:
    """What is wrong with a measured sinogram [1, views, detectors]; with few views, all of it, right and wrong."""
    step = projections.geometry.views // views
    clean = projections.sinogram[:, ::step]
    error = torch.zeros_like(clean)
    if plan.dose is not None:
        scanner = projections.scanner
        photons = scanner.photons(plan.dose * step, projections.geometry)
        error = count_error(clean, photons, scanner.electronic_noise, generator)
    error = error + lost_views(clean, plan.loss, plan.amount, generator)
    return error if step == 1 else clean + error


def _reconstruct(sinograms: torch.Tensor, projections: Projections, kernel: Kernel) -> torch.Tensor:
    """In HU; the zero of which is that of a difference, not of water."""
    geometry = projections.geometry
    few = type(geometry)(sinograms.shape[1], geometry.detectors, geometry.pixel_mm, geometry.size)
    return filtered_back_projection(sinograms.contiguous(), few, kernel) * _HU_PER_MU


def _circle(size: int) -> torch.Tensor:
    """1 where a scanner reconstructs, 0 in the corners."""
    axis = torch.arange(size) - (size - 1) / 2
    return (axis[:, None] ** 2 + axis[None, :] ** 2 <= (size / 2) ** 2).float()


def _vif(hu: torch.Tensor, clean: torch.Tensor) -> list[float]:
    """VIF of each picture against the clean slice [1, n, n], over the box around what its window shows.

    Where the clean slice is flat there is no information to lose, so leaving the air out only saves time.
    """
    rows, columns = torch.nonzero(clean[0] > SOFT_TISSUE.low, as_tuple=True)
    box = tuple(_span(found, clean.shape[-1]) for found in (rows, columns))
    part = clean[:, box[0], box[1]].contiguous()
    return [float(vif_under_window(one[None, box[0], box[1]], part)) for one in hu]


def _span(found: torch.Tensor, size: int) -> slice:
    """From the first to the last of these rows or columns, with a margin; all of them where there are too few."""
    if not len(found):
        return slice(0, size)
    start, stop = max(int(found.min()) - _MARGIN, 0), min(int(found.max()) + _MARGIN, size)
    return slice(start, stop) if stop - start >= _SMALLEST_SIDE else slice(0, size)
