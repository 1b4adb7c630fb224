"""The words of the summary page: what is said, apart from where it stands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ctiqa_node.report import codes as table
from ctiqa_node.report.agreement import WINDOW, window_agreement
from ctiqa_node.report.completeness import completeness
from ctiqa_node.report.content import (
    Report,
    ReportedClassification,
    ReportedMeasurement,
    ReportedModel,
    ReportStatus,
)
from ctiqa_node.report.evaluations import left_out_slices
from ctiqa_node.report.notable import NotableSlice, ranking
from ctiqa_node.report.series_header import tags_of_class
from ctiqa_node.report.verdicts import LDCTIQA_SCORES, CompletenessVerdict, category_of, quality_category

_SHORT_HASH = 8
_VALUES_OF_A_SLICE = 2  # what fits over its picture; the report has all
_LIKELIER_THAN_NOT = 0.5
_GRADED, _GRADE = "chest_ctiqa_score", "chest_ctiqa_grade"
_OTHER_CLASSES = 2  # so many of the less likely ones; the report has all


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: what, how much, and how to read it.

    An `is_needed` reading keeps up to two lines where room is short; a row that `stands_out` shall catch the eye.
    """

    title: str
    value: str
    reading: str = ""
    is_needed: bool = False
    stands_out: bool = False


def headline(report: Report) -> str:
    """The result in one sentence: quality, noise and dose, or why there is none."""
    series = {m.name: m for model in report.scored for m in model.series_measurements}
    parts = [part for part in (_quality(report, series), _noise(series), _dose(report)) if part]
    if not parts and series:
        first = next(iter(series.values()))
        parts.append(f"{table.quantity(first.name).title} {table.value_text(first.name, first.value, first.unit)}")
    if not parts:
        return f"Not scored by any of {len(report.models)} models" if report.models else "Not scored: no model ran"
    sentence = "; ".join(parts)
    return sentence[:1].upper() + sentence[1:]


def _quality(report: Report, series: dict[str, ReportedMeasurement]) -> str:
    """The first score of those that grade a whole image, with its scale and its word."""
    for name in LDCTIQA_SCORES:
        if name in series:
            return f"{series[name].value:.1f} of 4, {quality_category(series[name].value)}"
    if _GRADED in series:
        grade = _grade(report)
        return f"Chest CT-IQA {series[_GRADED].value:.1f} of 10{f', {grade}' if grade else ''}"
    likeness = [series[name] for name in ("n2q_quality", "n2q_imported_quality") if name in series]
    return f"{table.quantity(likeness[0].name).title} {likeness[0].value:.2f} of 1" if likeness else ""


def _noise(series: dict[str, ReportedMeasurement]) -> str:
    return f"noise {series['noise_level'].value:.0f} HU" if "noise_level" in series else ""


def _dose(report: Report) -> str:
    """A class that is less likely than all others together is no headline; the table has it with its probability."""
    for model in report.scored:
        for name, (best, *_) in decisions(model):
            if name == "n2q_dose" and best.probability > _LIKELIER_THAN_NOT:
                return f"dose class {best.label}"
    return ""


def table_rows(report: Report) -> list[Row]:
    """What does not fit the tags, series values, models that did not score with the reason, classes, and details."""
    everything = [m for model in report.scored for m in model.series_measurements]
    places = {name: place for place, name in enumerate(table.QUANTITIES)}
    everything.sort(key=lambda m: places.get(m.name, len(places)))
    details = [m for m in everything if table.quantity(m.name).is_detail]
    grade = _grade(report) if _GRADED in {m.name for m in everything} else None  # it stands beside its score
    rows = [
        *(_value_row(m, grade if m.name == _GRADED else None) for m in everything if m not in details),
        *(
            Row(table.model_title(model.name), "not scored", f"because: {model.reason or 'no reason given'}", True)
            for model in report.models
            if model.status is ReportStatus.NOT_SCORED
        ),
        *(
            _class_row(report, name, classes)
            for model in report.scored
            for name, classes in decisions(model)
            if name != _GRADE or grade is None
        ),
        *(_value_row(m) for m in details),
    ]
    return sorted(rows, key=lambda row: not row.stands_out)


def _grade(report: Report) -> str | None:
    return next((best.label for m in report.scored for name, (best, *_) in decisions(m) if name == _GRADE), None)


def _value_row(m: ReportedMeasurement, word: str | None = None) -> Row:
    """A value with its word, where it has one."""
    entry = table.quantity(m.name)
    return Row(entry.title, f"{value_in_words(m)} {word or ''}".rstrip(), entry.reading)


def value_in_words(m: ReportedMeasurement) -> str:
    """A value with its unit, and the word of a score of 0 to 4: "14.2 HU", "3.12 good"."""
    return f"{table.value_text(m.name, m.value, m.unit)} {category_of(m.name, m.value) or ''}".rstrip()


def _class_row(report: Report, name: str, classes: list[ReportedClassification]) -> Row:
    """The likeliest class; below it the next ones, and what the tags say."""
    best = classes[0]
    title, value = table.evaluation_title(name), table.class_text(best.label, best.probability)
    against = window_agreement(report) if name == WINDOW else None
    if against is not None and not against.agrees:
        return Row(f"≠ {title}", value, f"MISMATCH: kernel {against.kernel} is made for {against.expected}", True, True)
    others = ", ".join(table.class_text(c.label, c.probability) for c in classes[1 : 1 + _OTHER_CLASSES])
    tags = f"kernel {against.kernel}: {against.expected}" if against else tags_of_class(report, name)
    said = "; ".join(part for part in (f"next {others}" if others else "", f"tags: {tags}" if tags else "") if part)
    return Row(title, value, said or table.EVALUATION_READINGS.get(name, ""), bool(said))


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
    return [_model_line(model, f"weights {(model.weights_sha256 or '')[:_SHORT_HASH]}") for model in report.models]


def whole_model_lines(report: Report) -> list[str]:
    """The same with the whole hash."""
    return [_model_line(model, f"weights SHA-256 {model.weights_sha256}") for model in report.models]


def model_name(model: ReportedModel) -> str:
    """A model's title and version."""
    return f"{table.model_title(model.name)} {model.version}"


def _model_line(model: ReportedModel, weights: str) -> str:
    if model.weights_sha256 is None:
        return f"{model_name(model)}: {model.summary}"
    return f"{model_name(model)} ({weights}): {model.summary} Trained on {model.trained_on.rstrip('.')}."


def remark_lines(report: Report) -> list[str]:
    """Whether the slices are all there, what the loader noticed, and which slices a model left out."""
    return [_complete(report), *(finding.sentence for finding in report.volume.findings), *_left_out(report)]


def _complete(report: Report) -> str:
    found = completeness(report.volume, report.archive)
    asked = "" if report.archive is None else f" {report.archive.sentence[:1].upper()}{report.archive.sentence[1:]}."
    if found.verdict is CompletenessVerdict.GAPS:
        return f"The series has gaps: {found.missing} slice{'' if found.missing == 1 else 's'} missing.{asked}"
    return f"The series is {'' if found.verdict is CompletenessVerdict.COMPLETE else 'probably '}complete.{asked}"


def footer(report: Report) -> str:
    """Who made the page and when."""
    time = report.assessed_at.strftime("%Y-%m-%d %H:%M %Z")
    device = report.device
    return f"ctiqa-node {device.software_version}  ·  {device.ae_title}  ·  {time}  ·  revision {report.revision}"


def decisions(model: ReportedModel) -> Iterator[tuple[str, list[ReportedClassification]]]:
    """Each classification by name, with its classes, the likeliest first."""
    names = dict.fromkeys(c.name for c in model.classifications)
    for name in names:
        yield name, sorted((c for c in model.classifications if c.name == name), key=lambda c: -c.probability)


def _left_out(report: Report) -> Iterator[str]:
    for model in report.scored:
        for reason, ranges in left_out_slices(model):
            yield f"{table.model_title(model.name)} left out slices {ranges}: {reason}"
