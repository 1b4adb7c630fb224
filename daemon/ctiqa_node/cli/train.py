"""`train`: a model from the site's own data, or from simulation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ctiqa_node.cli import console
from ctiqa_node.cli.context import config_of
from ctiqa_node.errors import CtiqaError
from ctiqa_node.logs import configure_logging

if TYPE_CHECKING:
    from ctiqa_node.config import Config
    from ctiqa_node.laboratory import Trained, TrainingJob

STOPPED = 130
"""What shells answer after Ctrl-C: 128 and the number of SIGINT."""

ModelName = Literal["tfkt", "chest-ctiqa", "n2q"]
DeviceName = Literal["auto", "cpu", "cuda"]

Model = Annotated[ModelName, typer.Argument(metavar="tfkt|chest-ctiqa|n2q", help="Which model.", show_default=False)]
Data = Annotated[
    list[str],
    typer.Option(
        "--data",
        metavar="FOLDER",
        help="A folder of data, or the word simulation for phantoms; may be given several times.",
        show_default=False,
    ),
]
Phantoms = Annotated[int, typer.Option(min=1, help="How many made-up patients the word simulation means.")]
Device = Annotated[DeviceName, typer.Option(help="What to compute on; auto takes a GPU where there is one.")]
Processes = Annotated[int, typer.Option(min=1, help="How many processes simulate at once.")]


def train(
    context: typer.Context,
    model: Model,
    data: Data,
    recipe: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, metavar="FILE", help="The recipe. Default: the one that ships."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="The run's folder. Default: training-MODEL, here.")
    ] = None,
    phantoms: Phantoms = 200,
    device: Device = "auto",
    processes: Processes = 1,
) -> None:
    """Train a model; run again with the same --out, a training that was stopped goes on.

    What a folder holds is found out: DICOM files, training slices (.npz), KADID-10k, LDCTIQAC 2023 or photographs.
    Patients are dealt to training and validation by a fixed rule. The run's folder holds images of patients.

    \b
    Examples:
      ctiqa-node train n2q --data simulation
      ctiqa-node train tfkt --data /data/kadid10k --data /data/ldctiqac --out runs/tfkt
      ctiqa-node train chest-ctiqa --data /data/chest-ct --recipe mine.yaml --device cuda --processes 8

    Exit codes: 0 trained, 1 the data or the recipe cannot be used, 2 wrong usage, 130 stopped by Ctrl-C.
    """
    config = config_of(context)
    from ctiqa_node.laboratory import Given, TrainingJob

    folder = out or Path(f"training-{model}")
    job = TrainingJob(model, Given(tuple(data), phantoms), folder, recipe, device, processes)
    try:
        _show(_train(job, config))
    except KeyboardInterrupt:
        _tell_stopped(folder)
        raise typer.Exit(STOPPED) from None


def tell(sentence: str) -> None:
    """Say on standard error what became of the data."""
    console.err().print(console.plain(sentence), soft_wrap=True)


def log_to_stderr(config: Config) -> None:
    """Let the models' own words, an epoch a line, be read while they work."""
    configure_logging(config.logging.model_copy(update={"level": "info", "format": "console"}))


def sentence_of(error: OSError) -> CtiqaError:
    """What the system refused, as an error of ours."""
    where = f"{error.filename}: " if error.filename else ""
    return CtiqaError(f"{where}{error.strerror or error}.")


def _train(job: TrainingJob, config: Config) -> Trained:
    from ctiqa_node import laboratory

    log_to_stderr(config)
    try:
        return laboratory.train(job, tell)
    except OSError as error:
        raise sentence_of(error) from error


def _show(made: Trained) -> None:
    facts = [("Weights", made.weights), ("SHA-256", made.sha256), *(("Log", log) for log in made.logs)]
    console.out().print(console.facts(*facts))
    console.say(f"To use them: ctiqa-node model import {made.weights} --as trained")


def _tell_stopped(folder: Path) -> None:
    from ctiqa_node.laboratory import CHECKPOINT

    kept = any(folder.rglob(CHECKPOINT))
    what = "the last whole epoch is kept" if kept else "no epoch was finished yet; what was prepared is kept"
    console.print_failure(f"Stopped; {what} in {folder}. The same command goes on from there.")
