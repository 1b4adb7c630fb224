"""The words of the summary page: what is said, apart from where it stands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ctiqa_node.report import codes as table
from ctiqa_node.report.content import (
    Report,
    ReportedClassification,
    ReportedMeasurement,
    ReportedModel,
    ReportStatus,
)
from ctiqa_node.report.measurement_groups import left_out_slices
from ctiqa_node.report.notable import NotableSlice, ranking

_SHORT_HASH = 8
_VALUES_OF_A_SLICE = 2  # what fits over its picture; the report has all
_LIKELIER_THAN_NOT = 0.5
_HEADLINE = {"tfkt_score": "TFKT score", "n2q_quality": "N2Q quality", "noise_level": "noise"}
_HEADLINE_PARTS = 3


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: what, how much, and how to read it."""

    title: str
    value: str
    reading: str = ""


def headline(report: Report) -> str:
    """The result in one sentence: quality, noise and classes, or why there is none."""
    parts = []
    series = {m.name: m for model in report.scored for m in model.series_measurements}
    for name, title in _HEADLINE.items():
        if name in series:
            parts.append(f"{title} {table.value_text(name, series[name].value, series[name].unit)}")
    for model in report.scored:
        # A class that is less likely than all others together is no headline; the table has it with its probability.
        parts.extend(
            _class_text(name, best) for name, best in _decisions(model) if best.probability > _LIKELIER_THAN_NOT
        )
    if not parts and series:
        first = next(iter(series.values()))
        parts.append(f"{table.quantity(first.name).title} {table.value_text(first.name, first.value, first.unit)}")
    if not parts:
        return f"Not scored by any of {len(report.models)} models" if report.models else "Not scored: no model ran"
    sentence = ", ".join(parts[:_HEADLINE_PARTS])
    return sentence[:1].upper() + sentence[1:]


def table_rows(report: Report) -> list[Row]:
    """Series values, classes, the models that did not score with the reason, and last the details."""
    everything = [m for model in report.scored for m in model.series_measurements]
    places = {name: place for place, name in enumerate(table.QUANTITIES)}
    everything.sort(key=lambda m: places.get(m.name, len(places)))
    details = [m for m in everything if table.quantity(m.name).is_detail]
    return [
        *(_value_row(m) for m in everything if m not in details),
        *(_class_row(name, best) for model in report.scored for name, best in _decisions(model)),
        *(
            Row(table.model_title(model.name), "not scored", f"because: {model.reason or 'no reason given'}")
            for model in report.models
            if model.status is ReportStatus.NOT_SCORED
        ),
        *(_value_row(m) for m in details),
    ]


def _value_row(m: ReportedMeasurement) -> Row:
    entry = table.quantity(m.name)
    return Row(entry.title, table.value_text(m.name, m.value, m.unit), entry.reading)


def _class_row(name: str, best: ReportedClassification) -> Row:
    return Row(
        table.evaluation_title(name),
        table.class_text(best.label, best.probability),
        table.EVALUATION_READINGS.get(name, ""),
    )


def slice_title(report: Report, notable: NotableSlice) -> str:
    """The heading over the picture of a slice, without its marker: its place, and the values that slices rank by."""
    text = f"{notable.place.capitalize()} slice {notable.slice_index + 1} of {len(report.volume.sources)}"
    here = {m.name: m for model in report.scored for m in model.measurements if m.slice_index == notable.slice_index}
    values = [
        f"{table.quantity(name).title} {table.value_text(name, here[name].value, here[name].unit)}"
        for name in table.RANKED_BY
        if name in here
    ]
    return f"{text}: {', '.join(values[:_VALUES_OF_A_SLICE])}" if values else text


def short_slice_title(report: Report, notable: NotableSlice) -> str:
    """The heading over a picture without a map beside it: place, number, and the value that gave it the place."""
    text = f"{notable.place.capitalize()} slice {notable.slice_index + 1}"
    for model in report.scored:
        for m in model.measurements:
            if m.slice_index == notable.slice_index and m.name == notable.ranked_by:
                return f"{text}: {table.value_text(m.name, m.value, m.unit)}"
    return text


def plotted(report: Report) -> list[str]:
    """The measurements that have values by slice: what ranks the slices first, at most two."""
    ranked = ranking(report)
    first = [] if ranked is None else [ranked[0]]
    others = dict.fromkeys(m.name for model in report.scored for m in model.measurements if m.slice_index is not None)
    return [*first, *(name for name in (*table.RANKED_BY, *others) if name in others and name not in first)][:2]


def model_lines(report: Report) -> list[str]:
    """Name, version, beginning of the weights' hash, what each model computes, and what its weights were trained on."""
    return [_model_line(model) for model in report.models]


def _model_line(model: ReportedModel) -> str:
    text = f"{table.model_title(model.name)} {model.version}"
    if model.weights_sha256 is None:
        return f"{text}: {model.summary}"
    return f"{text} (weights {model.weights_sha256[:_SHORT_HASH]}): {model.summary} Trained on {model.trained_on}."


def remark_lines(report: Report) -> list[str]:
    """What the loader noticed, and which slices a model left out."""
    return [*(finding.sentence for finding in report.volume.findings), *_left_out(report)]


def footer(report: Report) -> str:
    """Who made the page and when."""
    time = report.assessed_at.strftime("%Y-%m-%d %H:%M %Z")
    device = report.device
    return f"ctiqa-node {device.software_version}  ·  {device.ae_title}  ·  {time}  ·  revision {report.revision}"


def _decisions(model: ReportedModel) -> Iterator[tuple[str, ReportedClassification]]:
    best: dict[str, ReportedClassification] = {}
    for c in model.classifications:
        if c.name not in best or c.probability > best[c.name].probability:
            best[c.name] = c
    yield from best.items()


def _class_text(name: str, best: ReportedClassification) -> str:
    return f"{table.evaluation_title(name).lower()} {table.class_text(best.label, best.probability)}"


def _left_out(report: Report) -> Iterator[str]:
    for model in report.scored:
        for reason, ranges in left_out_slices(model):
            yield f"{table.model_title(model.name)} left out slices {ranges}: {reason}"
