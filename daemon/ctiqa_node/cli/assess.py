"""`assess`: the quality of the series in a folder, without a node."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ctiqa_node.cli import console
from ctiqa_node.cli.console import AsJson
from ctiqa_node.cli.context import config_of, quiet_logs
from ctiqa_node.cli.offline_result import OfflineSeries
from ctiqa_node.cli.peers import progress_bar
from ctiqa_node.config import Config
from ctiqa_node.errors import CtiqaError

_STEPS = 100


def assess(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(exists=True, help="A folder, looked through to its depth, or one file.")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write SR, text, summary page and JSON of each series here.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Assess the CT series in a folder offline: no network, no database, no running node.

    Chooses, loads and assesses as the node does. With --out every assessed series gets a folder series-01, series-02 …
    with report.dcm (structured report), report.txt, summary.dcm, summary.png and results.json. They name the patient.

    \b
    Examples:
      ctiqa-node assess /data/chest-ct
      ctiqa-node assess /data/chest-ct --out /tmp/quality
      ctiqa-node assess /data/chest-ct --json | jq '.[].models[].measurements'

    Exit codes: 0 at least one series has values, 1 none has (the reasons are shown).
    """
    config = config_of(context)
    quiet_logs(config)
    found = _assess(folder, config, out)
    if as_json:
        console.print_json(found)
    else:
        _show(found)
    if not any(series.has_values for series in found):
        raise typer.Exit(1)


def _assess(folder: Path, config: Config, out: Path | None) -> list[OfflineSeries]:
    warnings.filterwarnings("ignore", category=UserWarning, module="pydicom")  # it warns of what real scanners send
    from ctiqa_node.cli import offline  # brings torch and matplotlib: seconds, and only here
    from ctiqa_node.folders import find_files, group_by_series

    try:
        files = find_files(folder)
        groups, unusable = group_by_series(files.dicom)
        if left_out := files.others + unusable:
            console.err().print(
                f"{console.counted(left_out, 'file')} left out: not DICOM, a DICOMDIR, or not readable."
            )
        if not groups:
            raise CtiqaError(f"There is no DICOM file in {folder} that can be read.")
        with progress_bar() as progress:
            task = progress.add_task("Loading the models", total=_STEPS * len(groups))

            def show(index: int, share: float) -> None:
                description = f"Series {index + 1} of {len(groups)}"
                progress.update(task, description=description, completed=int(_STEPS * (index + share)))

            models = offline.Offline(config, out)
            return [models.assess(series, index + 1, partial(show, index)) for index, series in enumerate(groups)]
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise CtiqaError(f"{where}{error.strerror or error}.") from error


def _show(found: list[OfflineSeries]) -> None:
    for number, series in enumerate(found, 1):
        if series.state == "assessed":
            _show_values(number, series)
    out = console.out()
    left = [(number, series) for number, series in enumerate(found, 1) if series.state != "assessed"]
    if left:
        table = console.table("Not assessed", "Series", "Description", "Files", "State", "Because")
        for number, series in left:
            described = series.description or series.series_instance_uid
            console.row(table, number, described, series.instances, series.state, series.reason)
        out.print(table)
    out.print("Research use only. Not for diagnosis.")


def _show_values(number: int, series: OfflineSeries) -> None:
    out = console.out()
    title = f"Series {number}: {series.description or series.series_instance_uid} ({series.slices} slices)"
    table = console.table(title, "Model", "Measure", "Value", "Version")
    for model in series.models:
        for measure, value in list(console.value_lines(model)) or [("not scored", f"because {model.reason}")]:
            console.row(table, model.model, measure, value, model.version)
    out.print(table)
    for finding in series.findings:
        console.say(f"  {finding}")
    if series.folder is not None:
        console.say(f"  Written to {series.folder}")
    for kind, reason in series.not_made.items():
        console.say(f"  {kind} could not be made: {reason}")
    out.print()
