"""Who refuses strangers and accepts unseen trunks: every assessor of the catalog, and the trunk gate by itself.

    python benchmarks/domain_check.py CTIQA_DATA [--only n2q tfkt] [--seeds 12]

Strangers are simulated (photographs are those of the data folder); trunks are the slices of held-out patients, the
full- and quarter-dose pairs, the real series and made-up patients that no gate was fitted on. The plastic head among
the real series is a stranger. A cell says which share of the slices was left out, and which of the series was refused.
Strangers' seeds start at 100: what a gate looks at was chosen with lower ones.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pydicom
import torch
from PIL import Image
from prepare_training_slices import convert
from pydicom.pixels.processing import apply_rescale
from rich.console import Console
from rich.progress import track
from rich.table import Table

from ctiqa_models import catalog
from ctiqa_models.api import Assessor, FloatArray, HuVolume, Status
from ctiqa_models.data.slices import read_slice, slice_files
from ctiqa_models.data.split import is_held_out
from ctiqa_models.n2q.body import find_anatomy
from ctiqa_models.n2q.preprocess import to_matrix
from ctiqa_models.simulation.series import Scan, simulate_series
from ctiqa_models.simulation.strangers import Kind, stranger
from ctiqa_models.trunk.gate import load_trunk

_CONSOLE = Console()
_PHANTOMS = range(9000, 9006)
_SERIES_SLICES = 24
_ROWS = 512  # with fewer, TFKT would refuse strangers, and made-up patients, for their matrix
_STRANGE_SERIES = "head-phantom-philips-ub"


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    strange: bool
    volume: HuVolume


@dataclass(slots=True)
class Tally:
    slices: int = 0
    slices_left_out: int = 0
    series: int = 0
    series_refused: int = 0

    def add(self, slices: int, left_out: int, *, refused: bool) -> None:
        self.slices += slices
        self.slices_left_out += left_out
        self.series += 1
        self.series_refused += refused

    def __str__(self) -> str:
        return f"{self.slices_left_out / self.slices:.2f} / {self.series_refused / self.series:.2f}"


@dataclass(slots=True)
class Judge:
    """An assessor or gate; `judge` says how many slices it leaves out, and whether it refuses the volume."""

    name: str
    judge: Callable[[HuVolume], tuple[int, bool]]
    tallies: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))


def by_assessor(assessor: Assessor) -> Judge:
    def judge(volume: HuVolume) -> tuple[int, bool]:
        assessment = assessor.assess(volume, lambda _share: None)
        if assessment.status is Status.NOT_SCORED:
            return len(volume.hu), True
        return len(assessment.unscored_slices), False

    return Judge(assessor.identity.name, judge)


def by_trunk_gate() -> Judge:
    gate = load_trunk()

    def judge(volume: HuVolume) -> tuple[int, bool]:
        stack = to_matrix(torch.from_numpy(volume.hu)).numpy()
        field_of_view_mm = volume.hu.shape[1] * volume.spacing_mm[1]
        left_out = sum(gate.objection(hu, find_anatomy(hu), field_of_view_mm) is not None for hu in stack)
        return left_out, left_out > len(stack) / 2

    return Judge("trunk gate", judge)


def strangers(photos: Sequence[FloatArray], seeds: int) -> Iterator[Case]:
    for kind in Kind:
        for seed in range(100, 100 + seeds):
            picture = photos[seed % len(photos)] if kind is Kind.PHOTOGRAPH else None
            yield Case(kind, strange=True, volume=stranger(kind, seed, slices=2, size=_ROWS, picture=picture))


def photographs(folder: Path) -> list[FloatArray]:
    files = [file for file in sorted(folder.iterdir()) if file.suffix in {".jpg", ".png"}]
    return [np.asarray(Image.open(file).convert("L"), dtype=np.float32) / 255 for file in files]


def held_out_slices(folder: Path) -> Iterator[Case]:
    """Each slice is a volume of its own: those of one patient lie far apart."""
    with tempfile.TemporaryDirectory() as made:
        for source in track(sorted(folder.glob("*.dcm")), description="converting"):
            if is_held_out(str(pydicom.dcmread(source, specific_tags=["PatientID"]).PatientID)):
                convert(source, Path(made) / f"{source.stem}.npz")
        for one in map(read_slice, slice_files(Path(made))):
            spacing = (3.0, one.spacing_mm, one.spacing_mm)
            yield Case("held-out patients' slices", False, HuVolume(one.hu[None].astype(np.float32), spacing))


def pairs(folder: Path) -> Iterator[Case]:
    for file in sorted(folder.glob("*.npz")):
        with np.load(file) as pair:
            spacing = (3.0, float(pair["spacing"][0]), float(pair["spacing"][1]))
            for dose in ("full", "quarter"):
                yield Case(f"pairs, {dose} dose", False, HuVolume(pair[dose][None].astype(np.float32), spacing))


def real_series(folder: Path) -> Iterator[Case]:
    for one in sorted(path for path in folder.iterdir() if path.is_dir()):
        datasets = [pydicom.dcmread(file) for file in sorted(one.glob("*.dcm"))]
        datasets.sort(key=lambda dataset: float(dataset.ImagePositionPatient[2]))
        some = datasets[:: max(1, len(datasets) // _SERIES_SLICES)]
        hu = np.stack([apply_rescale(dataset.pixel_array, dataset) for dataset in some]).astype(np.float32)
        spacing = (3.0, *map(float, some[0].PixelSpacing))
        yield Case(
            f"series {one.name}", one.name == _STRANGE_SERIES, HuVolume(hu, (spacing[0], spacing[1], spacing[2]))
        )


def made_up() -> Iterator[Case]:
    for seed in _PHANTOMS:
        for dose in (2.0, 0.4):
            yield Case("made-up patients", False, simulate_series(seed, 3, _ROWS, Scan(dose_fraction=dose)))


def cases(data: Path, seeds: int) -> Iterator[Case]:
    yield from strangers(photographs(data / "photos"), seeds)
    yield from real_series(data / "series")
    yield from held_out_slices(data / "slices")
    yield from pairs(data / "pairs")
    yield from made_up()


def show(judges: Sequence[Judge], strange: dict[str, bool]) -> None:
    table = Table("", *(judge.name for judge in judges), title="left out: share of slices / share of series")
    for wanted in (True, False):
        names = [name for name, is_strange in strange.items() if is_strange is wanted]
        for name in names:
            table.add_row(name, *(str(judge.tallies[name]) for judge in judges))
        means = [mean_of([judge.tallies[name] for name in names]) for judge in judges]
        table.add_row("mean over strangers" if wanted else "mean over trunks", *means, style="bold", end_section=True)
    _CONSOLE.print(table)


def mean_of(tallies: Sequence[Tally]) -> str:
    slices = np.mean([tally.slices_left_out / tally.slices for tally in tallies])
    series = np.mean([tally.series_refused / tally.series for tally in tallies])
    return f"{slices:.3f} / {series:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Show who refuses strangers and accepts unseen trunks.")
    parser.add_argument("data", type=Path, help="the folder of real data (CTIQA_DATA)")
    parser.add_argument(
        "--only", nargs="*", help="these assessors of the catalog (none: the gate alone); default: all that ship"
    )
    parser.add_argument("--seeds", type=int, default=12, help="strangers of each kind")
    arguments = parser.parse_args()
    judges = [by_trunk_gate(), *map(by_assessor, catalog.assessors("cpu", arguments.only))]
    strange: dict[str, bool] = {}
    for case in cases(arguments.data, arguments.seeds):
        strange[case.name] = case.strange
        for judge in judges:
            left_out, refused = judge.judge(case.volume)
            judge.tallies[case.name].add(len(case.volume.hu), left_out, refused=refused)
    show(judges, strange)


if __name__ == "__main__":
    main()
