"""Results as CSV (RFC 4180): one line for each value, so that a spreadsheet or a data frame takes it as it is."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from io import StringIO

from ctiqa_node.result_values import ClassificationResult, MeasurementResult, ModelResult, SeriesResult, SliceResult

SERIES_COLUMNS = (
    *("series_instance_uid", "study_instance_uid", "accession_number", "patient_id", "patient_name", "study_date"),
    *("description", "modality", "state", "reason", "revision", "instances", "slices", "completeness"),
    *("missing_slices", "window_agreement"),
)
MODEL_COLUMNS = (
    *("model", "version", "weights_sha256", "trained_on", "summary", "status", "reason", "reason_code"),
    *("device", "seconds", "assessed_at"),
)
VALUE_COLUMNS = (
    *("kind", "name", "value", "unit", "quality_category", "label", "probability", "slice_index", "sop_instance_uid"),
    *("frame_number", "text"),
)
_MODEL_PREFIX = {"reason": "model_reason"}
COLUMNS = (*SERIES_COLUMNS, *(_MODEL_PREFIX.get(name, name) for name in MODEL_COLUMNS), *VALUE_COLUMNS)

_Cell = str | int | float | None
_Line = dict[str, _Cell]


def as_csv(found: Sequence[SeriesResult]) -> str:
    """All values of some series, with a heading.

    `kind` says what a line is: series (of one that has no values), measurement, slice, class, not_scored,
    unscored_slice, finding, notable_slice, output or not_made. A cell that would be a formula in a spreadsheet starts
    with an apostrophe.
    """
    text = StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="")
    writer.writeheader()
    for series in found:
        shared = {name: getattr(series, name) for name in SERIES_COLUMNS}
        lines = list(_lines(series)) or [{"kind": "series"}]
        writer.writerows({name: harmless(cell) for name, cell in (shared | line).items()} for line in lines)
    return text.getvalue()


def harmless(cell: _Cell) -> _Cell:
    """Patient names and descriptions come from elsewhere; a spreadsheet would carry out what begins with these."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


def _lines(series: SeriesResult) -> Iterator[_Line]:
    for model in series.models:
        about = {_MODEL_PREFIX.get(name, name): getattr(model, name) for name in MODEL_COLUMNS}
        for line in _values(model):
            yield about | line
    for finding in series.findings:
        yield {"kind": "finding", "name": finding.code, "text": finding.sentence}
    for n in series.notable_slices:
        yield {"kind": "notable_slice", "name": n.role, "value": n.rank, "label": n.ranked_by,
               "slice_index": n.slice_index, "text": n.sentence}  # fmt: skip
    for output in series.outputs:
        told = [f"{name}: {state}" for name, state in output.deliveries.items()]
        told += [f"removed here {output.removed_at:%Y-%m-%d %H:%M:%S} UTC"] if output.removed_at else []
        yield {"kind": "output", "name": output.kind, "label": output.sop_class_uid,
               "sop_instance_uid": output.sop_instance_uid, "text": "; ".join(told)}  # fmt: skip
    for unmade in series.not_made:
        yield {"kind": "not_made", "name": unmade.kind, "text": unmade.reason}


def _values(model: ModelResult) -> Iterator[_Line]:
    if model.reason is not None:
        yield {"kind": "not_scored"}
    for measurement in model.measurements:
        yield {"kind": "measurement", **_cells(measurement)}
    for classification in model.classifications:
        yield {"kind": "class", **_cells(classification)}
    for each in model.slices:
        yield {"kind": "slice", **_cells(each)}
    for index, why in model.unscored_slices.items():
        yield {"kind": "unscored_slice", "slice_index": index, "text": why}


def _cells(value: MeasurementResult | ClassificationResult | SliceResult) -> _Line:
    return {name: getattr(value, name) for name in VALUE_COLUMNS if hasattr(value, name)}
