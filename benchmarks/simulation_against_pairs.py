"""Hold the simulated noise against real scans at full and at a quarter of the dose, and draw docs' figure.

    python benchmarks/simulation_against_pairs.py CTIQA_DATA [--figure docs/pictures/simulation-against-pairs.png]

The pairs serve evaluation alone. From each full-dose slice the noise that its quarter-dose twin has on top is
simulated, with a kernel fitted to the real spectrum, and compared with quarter − full: level, spectrum, direction, and
place. Only curves and maps of blocks of 32 pixels are drawn, so that no picture of a patient leaves the folder.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib import pyplot as plt
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.ndimage import binary_erosion
from scipy.stats import spearmanr

from ctiqa_models.api import HuVolume
from ctiqa_models.classical.noise_level import NoiseLevel
from ctiqa_models.n2q.body import find_anatomy
from ctiqa_models.simulation.distortions_ct import Acquisition, Projections, degrade, take_projections
from ctiqa_models.simulation.exposure import share_of_slices
from ctiqa_models.simulation.noise_power import noise_power_spectrum, radial, towards
from ctiqa_models.simulation.projector import STANDARD, Kernel

_CONSOLE = Console()
_BLOCK = 32
_PATCH = 64
_MODULATIONS = (0.0, 0.5)


@dataclass(frozen=True, slots=True)
class Pair:
    full: torch.Tensor
    quarter: torch.Tensor
    body: np.ndarray[tuple[int, int], np.dtype[np.bool_]]
    pixel_mm: float
    projections: Projections
    """Of the full-dose slice."""


@dataclass(frozen=True, slots=True)
class Noise:
    """What is seen of one kind of noise over the pairs of a group."""

    spectrum: torch.Tensor
    level: float
    """Root mean square over all blocks of all bodies, HU."""
    blocks: tuple[np.ndarray[tuple[int, int], np.dtype[np.float64]], ...]
    """Standard deviation in each block of each slice, HU; NaN outside the body."""


def load(file: Path) -> Pair:
    with np.load(file) as pair:
        full, quarter = (torch.from_numpy(pair[dose].astype(np.float32)) for dose in ("full", "quarter"))
        pixel_mm = float(pair["spacing"][0])
    body = binary_erosion(find_anatomy(full.numpy()).body, iterations=8)
    return Pair(full, quarter, body, pixel_mm, take_projections(full[None], pixel_mm))


def simulate(pair: Pair, kernel: Kernel, modulation: float) -> torch.Tensor:
    acquisition = Acquisition(0.25, kernel=kernel, angular_modulation=modulation)
    return degrade(pair.projections, acquisition, torch.Generator().manual_seed(1), own_dose=1.0)[0] - pair.full


def measure(pairs: list[Pair], noises: list[torch.Tensor]) -> Noise:
    patches = []
    for pair, noise in zip(pairs, noises, strict=True):
        inside = torch.from_numpy(pair.body)
        for y in range(0, noise.shape[0] - _PATCH + 1, _PATCH // 2):
            for x in range(0, noise.shape[1] - _PATCH + 1, _PATCH // 2):
                place = (slice(y, y + _PATCH), slice(x, x + _PATCH))
                if inside[place].all():
                    patches.append(noise[place])
    blocks = tuple(_block_spread(pair, noise) for pair, noise in zip(pairs, noises, strict=True))
    spreads = np.concatenate([one[np.isfinite(one)] for one in blocks])
    # Each patch to its own power, so that one starved slice does not drown the others.
    stack = torch.stack(patches)
    spectrum = noise_power_spectrum(stack / stack.std(dim=(1, 2), keepdim=True), pairs[0].pixel_mm)
    return Noise(spectrum, float(np.sqrt(np.mean(spreads**2))), blocks)


def _block_spread(pair: Pair, noise: torch.Tensor) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    count = noise.shape[0] // _BLOCK
    tiles = noise.numpy().astype(np.float64).reshape(count, _BLOCK, count, _BLOCK)
    share = pair.body.reshape(count, _BLOCK, count, _BLOCK).mean(axis=(1, 3))
    return np.where(share > 0.95, tiles.std(axis=(1, 3)), np.nan)


def fit_kernel(real: torch.Tensor, pixel_mm: float) -> Kernel:
    """The kernel whose noise spectrum f · window² · sinc⁴ is nearest to the real one, by the ratio of powers."""
    rings = radial(real, pixel_mm)
    share = rings.frequency * 2 * pixel_mm
    kept = (share > 0.1) & (share < 0.95)
    best: tuple[float, Kernel] = (math.inf, STANDARD)
    for cutoff in (*np.arange(0.5, 3.01, 0.1).round(1).tolist(), None):
        for boost in np.arange(0.0, 6.01, 0.25).tolist():
            kernel = Kernel(cutoff, boost)
            theory = share * kernel.window(share) ** 2 * torch.sinc(share / 2) ** 4
            ratio = theory[kept].clamp(min=1e-9).log() - rings.power[kept].log()
            best = min(best, (float(ratio.std()), kernel), key=lambda found: found[0])
    return best[1]


def levels(pairs: list[Pair]) -> tuple[float, float]:
    """Global noise level (HU) of the full-dose and of the quarter-dose slices of a group."""
    spacing = (3.0, pairs[0].pixel_mm, pairs[0].pixel_mm)
    found = []
    for stack in ([pair.full for pair in pairs], [pair.quarter for pair in pairs]):
        volume = HuVolume(torch.stack(stack).numpy(), spacing)
        found.append(NoiseLevel().assess(volume, lambda _share: None).measurements[0].value)
    return found[0], found[1]


def show(name: str, pairs: list[Pair], real: Noise, simulated: dict[float, Noise], kernel: Kernel) -> None:
    full, quarter = levels(pairs)
    table = Table("figure", "real", "simulated", *(f"… modulation {m}" for m in _MODULATIONS[1:]), title=name)
    table.add_row("quarter / full noise level", f"{quarter / full:.2f}", "2.00 by theory")
    table.add_row("(quarter − full) / full", f"{real.level / full:.2f}", "1.73 by theory")
    every = (real, *simulated.values())
    table.add_row("level of quarter − full, HU", *(f"{one.level:.1f}" for one in every))
    pixel_mm = pairs[0].pixel_mm
    table.add_row("mean frequency, 1/mm", *(f"{radial(one.spectrum, pixel_mm).mean:.3f}" for one in every))
    table.add_row("streaks along x / along y", *(f"{_direction(one):.2f}" for one in every))
    table.add_row("noisiest / quietest tenth of a slice", *(f"{_range_of(one):.2f}" for one in every))
    table.add_row("noisiest / quietest slice", *(f"{max(_slices(one)) / min(_slices(one)):.2f}" for one in every))
    agreement = [_agreement(real, one) for one in simulated.values()]
    table.add_row("blocks: Spearman within slices", "", *(f"{rho:.2f}" for rho, _ in agreement))
    table.add_row("blocks: real / simulated, spread", "", *(f"{spread:.0%}" for _, spread in agreement))
    _CONSOLE.print(table)
    flat = simulated[0.0]
    photons = (flat.level / real.level) ** 2
    _CONSOLE.print(
        f"kernel fitted: cutoff {kernel.cutoff}, boost {kernel.boost}; photons × {photons:.2f} match the level"
    )
    strength = _along_z(pairs, real, flat)
    _CONSOLE.print(f"a tube current that goes as attenuation^{strength:.2f} along z explains the slices' levels best")


def _slices(noise: Noise) -> list[float]:
    """Root mean square of each slice's blocks, HU."""
    return [float(np.sqrt(np.nanmean(one**2))) for one in noise.blocks]


def _along_z(pairs: list[Pair], real: Noise, flat: Noise) -> float:
    """The exponent with which the current must go as attenuation (`exposure.share_of_slices`) to explain the levels.

    The slope of log(simulated variance / real variance) over the logarithm of what each slice needed.
    """
    needed = share_of_slices(torch.cat([pair.projections.sinogram for pair in pairs]), 1.0).log().numpy()
    gained = 2 * (np.log(_slices(flat)) - np.log(_slices(real)))
    return float(np.polyfit(needed, gained, 1)[0])


def _direction(noise: Noise) -> float:
    return towards(noise.spectrum, math.pi / 2) / towards(noise.spectrum, 0.0)


def _range_of(noise: Noise) -> float:
    """The 90th over the 10th percentile of the blocks of a slice, mean over slices."""
    ranges = [np.nanpercentile(one, 90) / np.nanpercentile(one, 10) for one in noise.blocks]
    return float(np.mean(ranges))


def _agreement(real: Noise, simulated: Noise) -> tuple[float, float]:
    """Rank correlation of the blocks within a slice (mean over slices), and the spread of real over simulated."""
    correlations, ratios = [], []
    for ours, theirs in zip(simulated.blocks, real.blocks, strict=True):
        inside = np.isfinite(ours)
        correlations.append(spearmanr(ours[inside], theirs[inside]).statistic)
        ratio = np.log(theirs[inside] / ours[inside])
        ratios.append(ratio - ratio.mean())
    return float(np.mean(correlations)), float(np.concatenate(ratios).std())


def draw(rows: list[tuple[str, list[Pair], Noise, Noise, Kernel]], target: Path) -> None:
    figure, axes = plt.subplots(len(rows), 4, figsize=(15, 3.6 * len(rows)), layout="constrained", squeeze=False)
    for axis, (name, pairs, real, simulated, kernel) in zip(axes, rows, strict=True):
        _draw_spectra(axis[0], name, pairs[0].pixel_mm, real, simulated, kernel)
        middle = len(pairs) // 2
        for place, (title, noise) in zip(axis[1:3], (("real", real), ("simulated", simulated)), strict=True):
            image = place.imshow(_relative(noise)[middle], cmap="viridis", vmin=0.5, vmax=1.5)
            place.set_title(f"{title}: noise in blocks of {_BLOCK} pixels\nover the slice's mean")
            place.set_axis_off()
        figure.colorbar(image, ax=axis[1:3], shrink=0.7)
        x, y = (np.concatenate([one[np.isfinite(one)] for one in _relative(noise)]) for noise in (simulated, real))
        axis[3].plot(x, y, ".", markersize=3, color="tab:blue")
        axis[3].plot([0.3, 2], [0.3, 2], color="grey", linewidth=0.8)
        axis[3].set(xlabel="simulated", ylabel="real", title="blocks over their slice's mean")
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=80)


def _relative(noise: Noise) -> list[np.ndarray[tuple[int, int], np.dtype[np.float64]]]:
    return [blocks / mean for blocks, mean in zip(noise.blocks, _slices(noise), strict=True)]


def _draw_spectra(
    axis: mpl.axes.Axes, name: str, pixel_mm: float, real: Noise, simulated: Noise, kernel: Kernel
) -> None:
    for noise, label in (
        (real, "real, quarter − full"),
        (simulated, f"simulated, cutoff {kernel.cutoff}, boost {kernel.boost}"),
    ):
        rings = radial(noise.spectrum, pixel_mm)
        axis.plot(rings.frequency, rings.power, label=label)
    axis.set(xlabel="frequency, 1/mm", ylabel="power of unit noise, mm²", title=f"{name}: spectrum", ylim=(0, None))
    axis.legend(loc="lower center", fontsize=8)


def main() -> None:
    parser = argparse.ArgumentParser(description="Simulated noise against real full- and quarter-dose pairs.")
    parser.add_argument("data", type=Path, help="the folder of real data (CTIQA_DATA)")
    parser.add_argument("--figure", type=Path, help="where to draw the figure")
    arguments = parser.parse_args()
    rows = []
    files = sorted((arguments.data / "pairs").glob("*.npz"))
    for index, (name, group) in enumerate(groupby(files, key=lambda file: file.name.split("_z")[0])):
        pairs = [load(file) for file in group]
        real = measure(pairs, [pair.quarter - pair.full for pair in pairs])
        kernel = fit_kernel(real.spectrum, pairs[0].pixel_mm)
        simulated = {
            modulation: measure(pairs, [simulate(pair, kernel, modulation) for pair in track(pairs, name)])
            for modulation in _MODULATIONS
        }
        show(f"{name}, {len(pairs)} slices", pairs, real, simulated, kernel)
        rows.append((f"group {index + 1} ({name.rsplit('_', 1)[1]})", pairs, real, simulated[0.0], kernel))
    if arguments.figure:
        draw(rows, arguments.figure)


if __name__ == "__main__":
    main()
