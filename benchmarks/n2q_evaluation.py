"""Print the figures of n2q/CARD.md again: the shipped N2Q on held-out patients, on real dose pairs, and its speed.

    python benchmarks/n2q_evaluation.py CTIQA_DATA [--cache FILE]

Simulating the noise of the held-out slices takes about a second each; --cache keeps it, or takes what training kept.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
from prepare_training_slices import convert
from rich.console import Console
from rich.progress import track
from rich.table import Table

from ctiqa_models import catalog
from ctiqa_models.api import HuVolume, Status
from ctiqa_models.n2q.assess import N2q
from ctiqa_models.n2q.batches import make_bases
from ctiqa_models.n2q.evaluate import evaluate
from ctiqa_models.n2q.examples import Examples, simulate_examples
from ctiqa_models.n2q.release import read_release
from ctiqa_models.n2q.train import split

_CONSOLE = Console()


def load_examples(slices: Path, cache: Path | None) -> Examples:
    if cache is not None and cache.exists():
        return Examples.load(cache)
    with tempfile.TemporaryDirectory() as folder:
        for source in track(sorted(slices.glob("*.dcm")), description="converting"):
            convert(source, Path(folder) / f"{source.stem}.npz")
        examples = simulate_examples(Path(folder), processes=2)
    if cache is not None:
        examples.save(cache)
    return examples


def show_held_out(examples: Examples) -> None:
    release = read_release(catalog.N2Q_WEIGHTS)
    _, patients = split(examples.patients, release.recipe.validation_share)
    held_out = examples.of(patients)
    result = evaluate(release.network, make_bases(held_out), release.recipe.channels)
    title = f"{len(held_out.patients)} slices of {len(patients)} held-out patients, simulated doses"
    table = Table("figure", "now", "when trained", title=title)
    for (name, value), trained in zip(asdict(result).items(), asdict(release.evaluation).values(), strict=True):
        table.add_row(name, f"{value:.4f}", f"{trained:.4f}")
    _CONSOLE.print(table)


def quality_of(
    n2q: N2q, hu: np.ndarray[tuple[int, int], np.dtype[np.int16]], spacing: tuple[float, float]
) -> tuple[float, str]:
    assessment = n2q.assess(HuVolume(hu[None].astype(np.float32), (3.0, *spacing)), lambda _share: None)
    if assessment.status is not Status.SCORED:
        raise SystemExit(f"not scored: {assessment.reason}")
    return assessment.measurements[0].value, assessment.classifications[0].label


def show_pairs(n2q: N2q, folder: Path) -> None:
    table = Table("pair", "full", "quarter", "classes", title="real full- and quarter-dose pairs: mean quality")
    better = 0
    files = sorted(folder.glob("*.npz"))
    for file in files:
        with np.load(file) as pair:
            spacing = (float(pair["spacing"][0]), float(pair["spacing"][1]))
            (full, full_class), (quarter, quarter_class) = (
                quality_of(n2q, pair[dose], spacing) for dose in ("full", "quarter")
            )
        better += full > quarter
        table.add_row(file.stem, f"{full:.3f}", f"{quarter:.3f}", f"{full_class} / {quarter_class}")
    _CONSOLE.print(table)
    _CONSOLE.print(f"full dose judged better in {better} of {len(files)} pairs")


def show_speed(n2q: N2q, folder: Path) -> None:
    with np.load(sorted(folder.glob("*.npz"))[0]) as pair:
        volume = HuVolume(np.repeat(pair["full"][None].astype(np.float32), 32, axis=0), (3.0, 0.74, 0.74))
    start = time.perf_counter()
    n2q.assess(volume, lambda _share: None)
    _CONSOLE.print(f"{len(volume.hu) / (time.perf_counter() - start):.1f} slices of 512² a second, gate included")


def main() -> None:
    parser = argparse.ArgumentParser(description="Print the figures of the N2Q model card again.")
    parser.add_argument("data", type=Path, help="the folder of real data (CTIQA_DATA)")
    parser.add_argument("--cache", type=Path, help="simulated examples, kept by this script or by the training")
    arguments = parser.parse_args()
    n2q = N2q(catalog.N2Q_WEIGHTS)
    show_pairs(n2q, arguments.data / "pairs")
    show_speed(n2q, arguments.data / "pairs")
    show_held_out(load_examples(arguments.data / "slices", arguments.cache))


if __name__ == "__main__":
    main()
