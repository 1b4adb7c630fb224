"""`evaluate`: the papers' tables, with our figures and those of others beside them."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ctiqa_node.cli import console
from ctiqa_node.cli.context import config_of, quiet_logs
from ctiqa_node.cli.train import Data, Device, Model, Phantoms, Processes, sentence_of, tell

if TYPE_CHECKING:
    from ctiqa_node.laboratory import EvaluationJob


def evaluate(
    context: typer.Context,
    model: Model,
    data: Data,
    weights: Annotated[
        Path | None,
        typer.Option(
            exists=True, metavar="FILE", help="Weights of `train`, or a folder of some. Default: those that ship."
        ),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(metavar="pyiqa:NAME", help="A metric of an installed pyiqa for the same table; several times."),
    ] = None,
    form: Annotated[
        Literal["text", "json", "markdown"], typer.Option("--format", help="How the tables are written.")
    ] = "text",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the tables here instead of to standard output.")
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Keep what is simulated here, for another time. Default: thrown away."),
    ] = None,
    resamples: Annotated[int, typer.Option(min=0, help="Resamples for the 95 % intervals; 0: none.")] = 1000,
    phantoms: Phantoms = 50,
    device: Device = "auto",
    processes: Processes = 1,
) -> None:
    """Measure a model on the validation patients of the data, in the tables of its paper.

    Patients that the shipped weights were trained on are left out by the same fixed rule as in training. Intervals
    (95 %) are over patients.

    \b
    Examples:
      ctiqa-node evaluate n2q --data simulation
      ctiqa-node evaluate tfkt --data /data/ldctiqac --against pyiqa:niqe --against pyiqa:dbcnn
      ctiqa-node evaluate n2q --data /data/ct --weights training-n2q/n2q.safetensors --format markdown --out n2q.md

    Exit codes: 0 measured, 1 the data or the weights cannot be used, 2 wrong usage.
    """
    quiet_logs(config_of(context))
    for name in against or ():
        if not name.startswith("pyiqa:") or name == "pyiqa:":
            raise typer.BadParameter(
                f"{name!r} names no metric; write pyiqa:NAME, as in pyiqa:niqe", param_hint="against"
            )
    from ctiqa_node.laboratory import EvaluationJob, Given

    given = Given(tuple(data), phantoms)
    with TemporaryDirectory(prefix="ctiqa-") as passing:
        work = cache or Path(passing)
        job = EvaluationJob(
            model, given, work, weights, tuple(against or ()), form, device, processes, resamples,
            width=console.WIDTH_WITHOUT_TERMINAL if out else console.out().width,
        )  # fmt: skip
        _write(_evaluate(job), out)


def _evaluate(job: EvaluationJob) -> str:
    from ctiqa_node import laboratory

    try:
        return laboratory.evaluate(job, tell)
    except OSError as error:
        raise sentence_of(error) from error


def _write(tables: str, out: Path | None) -> None:
    if out is None:
        typer.echo(tables, nl=False)
        return
    try:
        out.write_text(tables, encoding="utf-8")
    except OSError as error:
        raise sentence_of(error) from error
    console.say(f"Written to {out}.")
