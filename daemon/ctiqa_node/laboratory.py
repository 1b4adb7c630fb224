"""Training, measuring and calibrating the models: the second door to them, for the data scientist, not for the worker.

What a model needs to train and to be measured lies behind its `train.run` and `evaluate.run`; this module finds out
what the data are, turns DICOM and simulation into what they read, and brings errors home.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from ctiqa_node import __version__
from ctiqa_node.errors import Rejected

if TYPE_CHECKING:  # the models bring torch: seconds, and only when they are asked for something
    from ctiqa_models.chest_ctiqa.calibration import Calibration
    from ctiqa_models.chest_ctiqa.fit import Fit
    from ctiqa_models.data.detect import Kind
    from ctiqa_models.data.sources import Sources
    from ctiqa_models.weights import WeightsFile

PACKAGES: Mapping[str, str] = {"tfkt": "tfkt", "chest-ctiqa": "chest_ctiqa", "n2q": "n2q"}
"""The models that can be trained, as they are typed, and their packages."""

SIMULATION = "simulation"
"""Instead of a folder: phantoms."""

ASKED = "asked.json"
FINISHED = "finished.json"
CHECKPOINT = "checkpoint.pt"
LOG = "log.csv"

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Given:
    """Data as they were asked for: folders or the word `simulation`, and how many phantoms and slices that means."""

    data: tuple[str, ...]
    phantoms: int = 200
    slices_per_phantom: int = 8
    size: int = 512


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """What `train` was asked; `model` is a key of `PACKAGES`, `recipe` None for the one that ships."""

    model: str
    given: Given
    out: Path
    recipe: Path | None = None
    device: str = "auto"
    processes: int = 1


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training left."""

    weights: Path
    sha256: str
    logs: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class EvaluationJob:
    """What `evaluate` was asked; `weights` None for those that ship, `form` is text, json or markdown."""

    model: str
    given: Given
    work: Path
    """For what is made of the data; may be used again, and may be a training's folder."""
    weights: Path | None = None
    against: tuple[str, ...] = ()
    form: str = "text"
    device: str = "auto"
    processes: int = 1
    resamples: int = 1000
    width: int = 160
    """Columns of the terminal, for text."""


@dataclass(frozen=True, slots=True)
class SeriesFeatures:
    """What Chest CT-IQA recorded of a series: its measured SNR and BRISQUE and two probabilities, 0–1."""

    snr: float
    brisque: float
    soft_tissue: float
    higher_exposure: float


def train(job: TrainingJob, tell: Tell) -> Trained:
    """Train, or go on with a training that was stopped in the same folder; one that is finished is told again.

    `tell` gets each sentence about data that are left out. Raises Rejected when the data, the recipe or the folder
    cannot be used, and OSError when a file cannot.
    """
    with _refusals():
        _require_device(job.device)
        asked = _asked(job)
        before = _read(job.out / ASKED)
        other = [name for name in asked if before and before.get(name) != asked[name]]
        if other:
            raise Rejected(
                f"{job.out} holds a training with another {' and '.join(other)} ({ASKED} tells); choose another --out."
            )
        sources = sources_of(job.given, job.out / "data", job.processes, tell)
        _write(job.out / ASKED, asked)
        return _finished(job.out) or _train(job, sources)


def _train(job: TrainingJob, sources: Sources) -> Trained:
    from ctiqa_models.training.request import TrainRequest

    request = TrainRequest(sources, job.out, job.recipe, job.device, job.processes)
    made: WeightsFile = import_module(f"ctiqa_models.{PACKAGES[job.model]}.train").run(request)
    _write(job.out / FINISHED, {"weights": made.path.name, "sha256": made.sha256})
    return Trained(made.path, made.sha256, _logs(job.out))


def _finished(out: Path) -> Trained | None:
    """What an earlier call finished, if it is still there as it was."""
    from ctiqa_models.weights import sha256_of

    kept = _read(out / FINISHED)
    weights = out / str(kept.get("weights"))
    if not kept or not weights.is_file() or sha256_of(weights) != kept["sha256"]:
        return None
    return Trained(weights, str(kept["sha256"]), _logs(out))


def _logs(out: Path) -> tuple[Path, ...]:
    return tuple(sorted(out.rglob(LOG)))


def evaluate(job: EvaluationJob, tell: Tell) -> str:
    """Measure, and answer with the tables in the form that was asked for; raises as `train` does."""
    from ctiqa_models.evaluation.render import FORMATS, as_text
    from ctiqa_models.training.request import EvaluateRequest

    with _refusals():
        _require_device(job.device)
        sources = sources_of(job.given, job.work / "data", job.processes, tell)
        request = EvaluateRequest(sources, job.weights, job.against, job.work, job.device, job.processes, job.resamples)
        tables = import_module(f"ctiqa_models.{PACKAGES[job.model]}.evaluate").run(request)
    return as_text(tables, job.width) if job.form == "text" else FORMATS[job.form](tables)


def calibrate(scores: Sequence[tuple[str, str, float]], features: Mapping[str, SeriesFeatures]) -> Calibration:
    """Fit the score of Chest CT-IQA to readers: `scores` are (series, reader, 1–10), `features` are by series.

    Raises Rejected when there are too few series or a value cannot be.
    """
    from ctiqa_models.chest_ctiqa.calibration import ReaderScore, calibrate
    from ctiqa_models.chest_ctiqa.fit import Features

    known = {
        series: Features(one.snr, one.brisque, one.soft_tissue, one.higher_exposure) for series, one in features.items()
    }
    with _refusals():
        return calibrate([ReaderScore(*row) for row in scores], known)


def published_fit() -> Fit:
    """The paper's coefficients."""
    from ctiqa_models.chest_ctiqa.fit import PUBLISHED

    return PUBLISHED


def save_calibration(models: Path, calibration: Calibration) -> Path:
    """Keep a calibration where the node finds it; answers with the file. Raises OSError."""
    from ctiqa_models.chest_ctiqa.fit import save_fit

    return save_fit(models, calibration)


def sources_of(given: Given, work: Path, processes: int, tell: Tell) -> Sources:
    """What the data are, sorted by kind, with DICOM and phantoms as training slices in `work`.

    What an earlier call made of the same folder is used again. Raises ValueError or Rejected for data that cannot be
    used.
    """
    from ctiqa_models.data.detect import Kind, kind_of
    from ctiqa_models.data.gather import gather

    if not given.data:
        raise Rejected("There are no data; give --data a folder, or the word simulation.")
    found: list[tuple[Kind, Path]] = []
    for text in dict.fromkeys(given.data):
        if text == SIMULATION:
            found.append((Kind.SLICES, _phantoms(given, work, processes)))
            continue
        kind, folder = kind_of(Path(text)), Path(text)
        tell(f"{folder}: {kind}.")
        if kind is Kind.DICOM:
            kind, folder = Kind.SLICES, _from_dicom(folder.resolve(), work, tell)
        found.append((kind, folder))
    return gather(found, work)


def _phantoms(given: Given, work: Path, processes: int) -> Path:
    from ctiqa_models.data.phantoms import write_phantoms

    folder = work / f"phantoms-{given.phantoms}-{given.slices_per_phantom}-{given.size}"
    write_phantoms(folder, given.phantoms, given.slices_per_phantom, given.size, processes)
    return folder


def _from_dicom(folder: Path, work: Path, tell: Tell) -> Path:
    """Training slices of a folder of DICOM files; `source.json` is written last and says that they are all there."""
    from ctiqa_models.data.slices import TrainingSlice, write_slice
    from ctiqa_node.training_slices import read_dicom_folder

    told: list[str] = []
    made = work / f"dicom-{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"
    source = made / "source.json"
    if _read(source).get("folder") == str(folder):
        return made
    made.mkdir(parents=True, exist_ok=True, mode=0o700)
    for old in made.glob("*.npz"):
        old.unlink()
    count = 0

    def note(sentence: str) -> None:
        told.append(sentence)
        tell(sentence)

    for number, slices in enumerate(read_dicom_folder(folder, note)):
        for index, one in enumerate(slices):
            kept = TrainingSlice(one.hu, one.spacing_mm, one.patient, one.kernel, one.thickness_mm)
            write_slice(made / f"{number:05d}-{index:03d}.npz", kept)
        count += len(slices)
    _write(source, {"folder": str(folder), "slices": count, "told": told})
    return made


def _asked(job: TrainingJob) -> dict[str, object]:
    """What makes a training what it is: to go on with other data or another recipe would give weights of neither."""
    recipe = f"shipped with {__version__}"
    if job.recipe is not None:
        recipe = hashlib.sha256(job.recipe.read_bytes()).hexdigest()
    data = [text if text == SIMULATION else str(Path(text).resolve()) for text in job.given.data]
    return {"model": job.model, "recipe": recipe, "data": data, "phantoms": job.given.phantoms}


def _read(file: Path) -> dict[str, object]:
    """A JSON file that this module wrote; empty when there is none."""
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}


def _write(file: Path, content: Mapping[str, object]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _require_device(device: str) -> None:
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise Rejected("There is no GPU that can be used; leave --device out, or say cpu.")


@contextmanager
def _refusals() -> Iterator[None]:
    """The models complain of data, recipes and weights with ValueError and WeightsError: both are sentences.

    What they print meanwhile, progress bars, goes to standard error; standard output is for the result.
    """
    from ctiqa_models.weights import WeightsError

    try:
        with redirect_stdout(sys.stderr):
            yield
    except (ValueError, WeightsError) as error:
        raise Rejected(str(error)) from error
