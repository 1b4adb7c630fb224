"""`results`: what was found, of all series or of some."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table
from sqlalchemy import select
from sqlalchemy.orm import Session

from ctiqa_node.cli import console
from ctiqa_node.cli.console import AsJson
from ctiqa_node.cli.context import config_of, open_database
from ctiqa_node.cli.results_csv import as_csv as csv_of
from ctiqa_node.db.states import SeriesState
from ctiqa_node.db.tables import Series
from ctiqa_node.errors import CtiqaError
from ctiqa_node.report.quantities import quantity
from ctiqa_node.report.wording import value_text
from ctiqa_node.result_values import ModelResult, OutputResult, SeriesResult
from ctiqa_node.results import find_series, series_results

Wanted = Annotated[
    str | None,
    typer.Argument(
        metavar="SERIES|ACCESSION",
        help="Series or Study Instance UID, accession number or patient ID; all series without it.",
    ),
]


_NEEDS_A_REASON = {SeriesState.SKIPPED, SeriesState.FAILED, SeriesState.UNDELIVERED}


def results(
    context: typer.Context,
    series: Wanted = None,
    state: Annotated[SeriesState | None, typer.Option(help="Only series in this state (without an argument).")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many series (without an argument).")] = 20,
    slices: Annotated[bool, typer.Option("--slices", help="The values of each slice as well.")] = False,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, one line for each value.")] = False,
) -> None:
    """Show the values of series: all, newest first, or those of one series, study, accession number or patient.

    With an argument each series is shown with every value, the model versions and the objects that were made;
    its JSON and CSV then always hold the values of the slices.

    \b
    Examples:
      ctiqa-node results
      ctiqa-node results --state failed --limit 100
      ctiqa-node results 20260102-0042 --slices
      ctiqa-node results 20260102-0042 --json | jq '.[].models[].measurements'
      ctiqa-node results --csv --limit 1000 > quality.csv

    Exit codes: 0 shown, 1 no series is known by the argument.
    """
    if as_json and as_csv:
        raise typer.BadParameter("--json and --csv exclude each other")
    with open_database(config_of(context), "results") as database, database.read() as session:
        if series is None:
            found = _newest(session, state, limit, with_slices=slices)
        else:
            found = series_results(session, named_series(session, series), with_slices=True)
    if as_json:
        console.print_json(found)
    elif as_csv:
        typer.echo(csv_of(found), nl=False)
    elif series is None:
        _list(found)
    else:
        for each in found:
            _show(each, with_slices=slices)


def named_series(session: Session, text: str) -> list[Series]:
    """The series that a person means.

    Raises:
        CtiqaError: there is none.
    """
    found = find_series(session, text)
    if not found:
        raise CtiqaError(
            f"No series, study, accession number or patient ID {text!r} is known. `ctiqa-node results` lists them."
        )
    return found


def _newest(session: Session, state: SeriesState | None, limit: int, *, with_slices: bool) -> list[SeriesResult]:
    query = select(Series).order_by(Series.last_instance_at.desc(), Series.id.desc()).limit(limit)
    if state is not None:
        query = query.where(Series.state == state)
    return series_results(session, session.scalars(query).all(), with_slices=with_slices)


def _list(found: list[SeriesResult]) -> None:
    table = console.table(None, "Since (UTC)", "Accession", "Series", "Instances", "State", "Values, or the reason")
    for each in found:
        console.row(
            table,
            console.when(each.state_since),
            each.accession_number,
            each.description or each.series_instance_uid,
            each.instances,
            each.state,
            (each.state != SeriesState.FAILED and console.values_in_short(each.models)) or each.reason,
        )
    console.out().print(table if found else "No series.")


def _show(series: SeriesResult, *, with_slices: bool) -> None:
    out = console.out()
    out.print(series_header(series))
    table = console.table(f"Values of revision {series.revision}", "Model", "Measure", "Value", "Version", "Weights")
    for model in series.models:
        weights = model.weights_sha256[:12] if model.weights_sha256 else "none"
        lines = list(console.value_lines(model)) or [("not scored", f"because {model.reason}")]
        for title, value in lines:
            console.row(table, model.model, title, value, model.version, weights)
    if series.models:
        out.print()
        out.print(table)
        first = series.models[0]
        console.say(f"Assessed {console.when(first.assessed_at)} UTC on {first.device}. Research use only.")
    for model in series.models:
        if model.unscored_slices:
            console.say(f"{model.model} left out {len(model.unscored_slices)} slices; --slices says why.")
    if with_slices:
        for model in series.models:
            _show_slices(model)
    out.print()


def series_header(series: SeriesResult) -> Table:
    """Which series it is, and where it stands."""
    outputs = [
        f"{output.kind} {output.sop_instance_uid}"
        + "".join(_delivered(output, name) for name in output.deliveries)
        + (f"; removed here {console.when(output.removed_at)} UTC" if output.removed_at else "")
        for output in series.outputs
    ]
    return console.facts(
        ("Series", series.description),
        ("Series UID", series.series_instance_uid),
        ("Study UID", series.study_instance_uid),
        ("Accession", series.accession_number),
        ("Patient", f"{series.patient_name} ({series.patient_id})"),
        ("Study date", series.study_date),
        ("Instances", f"{series.instances} {series.modality}"),
        ("State", f"{series.state} since {console.when(series.state_since)} UTC"),
        ("Because", series.reason if series.state in _NEEDS_A_REASON else None),
        ("Complete", ": ".join(filter(None, (series.completeness, "; ".join(series.completeness_evidence))))),
        ("Window", "does not fit the kernel" if series.window_agreement == "mismatch" else None),
        *(("Noticed", finding.sentence) for finding in series.findings),
        *(("Object", output) for output in outputs),
        *(("Not made", f"{unmade.kind}: {unmade.reason}") for unmade in series.not_made),
    )


def _delivered(output: OutputResult, name: str) -> str:
    warning = f" ({output.warnings[name]})" if name in output.warnings else ""
    return f"; {name}: {console.state_of_sending(output.deliveries[name])}{warning}"


def _show_slices(model: ModelResult) -> None:
    if not model.slices and not model.unscored_slices:
        return
    table = console.table(f"{model.model}, slice by slice", "Slice", "Measure", "Value", "SOP Instance UID")
    for each in sorted(model.slices, key=lambda one: (one.name, one.slice_index)):
        value = value_text(each.name, each.value, each.unit)
        source = each.sop_instance_uid + (f" frame {each.frame_number}" if each.frame_number is not None else "")
        console.row(table, each.slice_index + 1, quantity(each.name).title, value, source)
    for index, reason in model.unscored_slices.items():
        console.row(table, index + 1, "not scored", f"because {reason}", "")
    out = console.out()
    out.print()
    out.print(table)
