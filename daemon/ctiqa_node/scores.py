"""Readers' scores in a CSV file, and what the node recorded of the series that they scored."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session

from ctiqa_node.dicom import is_uid
from ctiqa_node.errors import Rejected
from ctiqa_node.laboratory import SeriesFeatures
from ctiqa_node.result_values import ModelResult
from ctiqa_node.results import find_series, series_result

COLUMNS = ("series", "reader", "score")
LOWEST, HIGHEST = 1.0, 10.0
MODEL = "chest_ctiqa"
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class ReaderScore:
    """What one reader gave one series (its Series Instance UID), 1–10."""

    series: str
    reader: str
    score: float


def read_scores(file: Path) -> list[ReaderScore]:
    """The rows of a CSV with the columns series, reader and score, as spreadsheets of any language write it.

    Raises Rejected with the line: columns are missing or unknown, a series is no UID, a reader is not named, a score
    is no number from 1 to 10, or there are no rows; OSError when the file cannot be read.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise Rejected(f"{file} is not UTF-8 text; save it as CSV in UTF-8.") from error
    first = text.partition("\n")[0]
    reader = csv.DictReader(text.splitlines(), delimiter=";" if ";" in first else ",")
    names = tuple(name.strip().lower() for name in reader.fieldnames or ())
    if sorted(names) != sorted(COLUMNS):
        shown = ", ".join(names) or "none"
        raise Rejected(f"{file} must have exactly the columns {', '.join(COLUMNS)} in its first line; found: {shown}.")
    reader.fieldnames = names
    rows = [_row(cells, f"{file}, line {reader.line_num}") for cells in reader]
    if not rows:
        raise Rejected(f"{file} holds no scores.")
    return rows


def _row(cells: dict[str | None, str | None], where: str) -> ReaderScore:
    if None in cells or None in cells.values():
        raise Rejected(f"{where}: there must be exactly {len(COLUMNS)} values.")
    series, reader, text = ((cells[name] or "").strip() for name in COLUMNS)
    if not is_uid(series):
        raise Rejected(f"{where}: {series!r} is no Series Instance UID.")
    if not reader:
        raise Rejected(f"{where}: the reader is not named.")
    try:
        score = float(text.replace(",", "."))
    except ValueError:
        score = math.nan
    if not LOWEST <= score <= HIGHEST:
        raise Rejected(f"{where}: the score {text!r} is no number from {LOWEST:g} to {HIGHEST:g}.")
    return ReaderScore(series, reader, score)


def recorded_features(session: Session, series: Iterable[str]) -> tuple[dict[str, SeriesFeatures], dict[str, str]]:
    """What Chest CT-IQA recorded of each series, and of the others why there is nothing.

    Raises Rejected for series that this node has never received: the file is not about this node's series.
    """
    features: dict[str, SeriesFeatures] = {}
    without: dict[str, str] = {}
    unknown: list[str] = []
    for uid in dict.fromkeys(series):
        known = [one for one in find_series(session, uid) if one.series_instance_uid == uid]
        if not known:
            unknown.append(uid)
            continue
        models = series_result(session, known[0], with_slices=False).models
        model = next((one for one in models if one.model == MODEL), None)
        found = None if model is None else _features(model)
        if found is None:
            reason = model.reason if model is not None else None
            without[uid] = reason or f"not assessed by {MODEL}"
        else:
            features[uid] = found
    if unknown:
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        raise Rejected(f"This node has not received these series: {', '.join(unknown[:_SHOWN])}{more}.")
    return features, without


def _features(model: ModelResult) -> SeriesFeatures | None:
    """The inputs of the score; None when the model recorded no score, or only parts."""
    values = {one.name: one.value for one in model.measurements}
    classes = {(one.name, one.label): one.probability for one in model.classifications}
    try:
        return SeriesFeatures(
            snr=values[f"{MODEL}_snr"],
            brisque=values[f"{MODEL}_brisque"],
            soft_tissue=classes[f"{MODEL}_window", "soft tissue"],
            higher_exposure=classes[f"{MODEL}_exposure", "50 mAs"],
        )
    except KeyError:
        return None
