"""`calibrate`: Chest CT-IQA's score, fitted to the site's own readers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from ctiqa_node.cli import console
from ctiqa_node.cli.console import AsJson
from ctiqa_node.cli.context import config_of, open_database
from ctiqa_node.cli.train import sentence_of
from ctiqa_node.config import Config
from ctiqa_node.state import StateFolder


class Coefficients(BaseModel):
    """Equation 4 of the paper."""

    snr: float
    brisque: float
    window: float
    exposure: float
    intercept: float


class AgreementResult(BaseModel):
    """How well two lists of scores agree; a correlation is None where one of them is constant."""

    srcc: float | None
    plcc: float | None
    rmse: float


class CalibrationResult(BaseModel):
    """What was fitted, and how far to trust it."""

    series: int
    readers: int
    folds: int
    coefficients: Coefficients
    published_coefficients: Coefficients
    cross_validated: AgreementResult
    published: AgreementResult
    between_readers: AgreementResult | None
    constant: tuple[str, ...]
    left_out: dict[str, str]
    """Series with scores that could not be used, and why."""
    fitted_at: str
    data_sha256: str
    stored_in: str | None
    """None with --dry-run."""


def calibrate(
    context: typer.Context,
    scores: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, metavar="SCORES.csv", help="Columns series, reader, score.")
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the fit and do not store it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fit Chest CT-IQA's score to the site's readers, 1–10, on series that this node has assessed.

    The CSV names each series by its Series Instance UID, once for each reader. Figures are cross-validated: each series
    is scored by coefficients that were fitted without it. The fit holds from the next start of the node.

    \b
    Examples:
      ctiqa-node calibrate scores.csv --dry-run
      ctiqa-node calibrate scores.csv

    Exit codes: 0 fitted, 1 the scores cannot be used, 2 wrong usage, or no usable state.
    """
    result = _calibrate(scores, config_of(context), dry_run=dry_run)
    if as_json:
        console.print_json(result)
    else:
        _show(result)


def _calibrate(file: Path, config: Config, *, dry_run: bool) -> CalibrationResult:
    from ctiqa_node import laboratory
    from ctiqa_node.scores import read_scores, recorded_features

    try:
        rows = read_scores(file)
        with open_database(config, "calibrate") as database, database.read() as session:
            features, without = recorded_features(session, (row.series for row in rows))
        made = laboratory.calibrate([(row.series, row.reader, row.score) for row in rows], features)
        stored = None
        if not dry_run:
            stored = laboratory.save_calibration(StateFolder(config.node.state_dir).models, made)
    except OSError as error:
        raise sentence_of(error) from error
    return CalibrationResult(
        series=made.series,
        readers=made.readers,
        folds=made.folds,
        coefficients=Coefficients.model_validate(made.fit, from_attributes=True),
        published_coefficients=Coefficients.model_validate(laboratory.published_fit(), from_attributes=True),
        cross_validated=AgreementResult.model_validate(made.cross_validated, from_attributes=True),
        published=AgreementResult.model_validate(made.published, from_attributes=True),
        between_readers=None
        if made.between_readers is None
        else AgreementResult.model_validate(made.between_readers, from_attributes=True),
        constant=made.constant,
        left_out=without,
        fitted_at=made.fit.fitted_at,
        data_sha256=made.fit.data_sha256,
        stored_in=None if stored is None else str(stored),
    )


def _show(result: CalibrationResult) -> None:
    out = console.out()
    table = console.table(f"{result.series} series, mean of the readers against", "", "SRCC", "PLCC", "RMSE")
    for name, agreement in (
        (f"this fit, cross-validated in {result.folds} parts", result.cross_validated),
        ("the paper's fit", result.published),
        ("between readers, mean of the pairs", result.between_readers),
    ):
        console.row(table, name, *_figures(agreement))
    out.print(table)
    out.print()
    table = console.table("Coefficients", "", "the paper's", "this fit's")
    for name, published in result.published_coefficients:
        console.row(table, name, f"{published:.4f}", f"{getattr(result.coefficients, name):.4f}")
    out.print(table)
    for name in result.constant:
        console.say(f"{name} is the same in all series, so that nothing can be learnt of it: its coefficient is 0.")
    for uid, reason in result.left_out.items():
        console.say(f"{uid} was left out: {reason}.")
    if result.stored_in is None:
        console.say("Not stored.")
    else:
        console.say(f"Stored in {result.stored_in}, with the SHA-256 of scores and features, {result.data_sha256}.")
        console.say("It holds once the node is restarted.")


def _figures(agreement: AgreementResult | None) -> tuple[str, str, str]:
    if agreement is None:
        return "–", "–", "–"
    ranks, linear = ("–" if one is None else f"{one:.4f}" for one in (agreement.srcc, agreement.plcc))
    return ranks, linear, f"{agreement.rmse:.4f}"
