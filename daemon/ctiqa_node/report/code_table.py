"""The table of codes as people read it: what docs/codes.md prints, so that a program's author need not guess."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydicom.sr.coding import Code

from ctiqa_node.report import codes as table


@dataclass(frozen=True, slots=True)
class CodeLine:
    """One code, with where it stands in the report and what it says."""

    where: str
    code: Code
    says: str


def measurement_lines() -> Iterator[CodeLine]:
    """The concept names of measurements; `where` is the name that `results --json` has."""
    for entry in table.QUANTITIES.values():
        how = f"; the series' value is the {entry.of_series.meaning.lower()}" if entry.of_series else ""
        yield CodeLine(entry.name, entry.code, entry.reading + how)


def evaluation_lines() -> Iterator[CodeLine]:
    """The concept names of evaluations; `where` is the name that `results --json` has."""
    for name in table.CLASSES:
        yield CodeLine(name, table.evaluation_code(name), table.EVALUATION_READINGS[name])
    for where, code, says in (
        ("quality_category", table.QUALITY, "the LDCTIQA word of a score of 0 to 4, of the series or a slice"),
        ("status", table.SCORING_STATUS, "for each model: whether it gave numbers"),
        ("reason_code", table.REASON, "below a model that did not score; the comment beside it is its sentence"),
        ("completeness", table.COMPLETENESS, "whether all slices are there, as far as the node knows"),
        ("missing_slices", table.MISSING_SLICES, "below the completeness, where there are gaps"),
        ("window_agreement", table.WINDOW_AGREEMENT, "the window class against that of the convolution kernel"),
        ("findings", table.INPUT_FINDING, "what the loader noticed; the comment below it is its sentence"),
        ("classifications", table.OTHER_CLASS, "below a class: one that is less likely"),
        ("probability", table.CERTAINTY, "below a class: its probability, in percent"),
        ("unscored_slices", table.SLICES_LEFT_OUT, "which slices a model left out, and why"),
        ("notable_slices", table.SLICE_ROLE, "why a slice has a group of its own"),
        ("–", table.COMMENT, "a sentence"),
        ("–", table.CAVEAT, table.NOT_FOR_DIAGNOSIS),
    ):
        yield CodeLine(where, code, says)


def value_lines() -> Iterator[CodeLine]:
    """The values of coded evaluations; `where` is the evaluation's code, `says` the word of `results --json`."""
    for name, labels in table.CLASSES.items():
        for label in labels:
            yield CodeLine(table.evaluation_code(name).value, table.class_code(name, label), label)
    for category, code in table.QUALITY_CATEGORIES.items():
        yield CodeLine(table.QUALITY.value, code, category.value)
    for word, code in (("scored", table.SCORED), ("not_scored", table.NOT_SCORED)):
        yield CodeLine(table.SCORING_STATUS.value, code, word)
    for reason, code in table.NOT_SCORED_REASONS.items():
        yield CodeLine(table.REASON.value, code, reason.value)
    for verdict, code in table.COMPLETENESS_VERDICTS.items():
        yield CodeLine(table.COMPLETENESS.value, code, verdict.value)
    for word, code in (("agrees", table.AGREES), ("mismatch", table.MISMATCH)):
        yield CodeLine(table.WINDOW_AGREEMENT.value, code, word)
    for finding, code in table.FINDINGS.items():
        yield CodeLine(table.INPUT_FINDING.value, code, finding.value)


def other_lines() -> Iterator[CodeLine]:
    """The codes of the other result objects; `where` is the object."""
    text, maps = "text report", "parametric map"
    for where, code, says in (
        (f"{text}, PDF", table.REPORT_TITLE, "the title"),
        (text, Code("121111", "DCM", "Summary"), "the result in one sentence"),
        (text, table.ASSESSED_SERIES, "heading; number, description and slices of the source"),
        (text, table.ACQUISITION, "scanner, kernel, tube voltage and current"),
        (text, table.SERIES_VALUES, "heading; below it the measurements above, each as text"),
        (text, table.SERIES_CLASSES, "heading; below it the classes above, each as text"),
        (text, table.CHOSEN_SLICES, "heading; below it the notable slices"),
        (text, table.REMARKS, "heading"),
        (text, table.REMARK, "completeness, findings, slices left out"),
        (text, table.MODELS, "heading"),
        (text, table.MODEL, "name, version, weights, what it computes, what it was trained on"),
        (text, table.WRITTEN_BY, "software, AE title, time, revision"),
        *((maps, table.map_code(name), "the quantity of the values") for name in ("n2q", "n2q_imported")),
        ("images", table.REPLACED_RESULT, "purpose of the reference to the object of the revision before"),
        ("documents", Code("121360", "DCM", "Replaced report"), "the same"),
        ("key objects", Code("113000", "DCM", "Of Interest"), "the title"),
        ("key objects", Code("113012", "DCM", "Key Object Description"), "why these slices, with their values"),
    ):
        yield CodeLine(where, code, says)


def as_markdown(heading: tuple[str, str], lines: Iterator[CodeLine]) -> str:
    """A table in Markdown; `heading` names the first and the last column."""
    rows = [f"| {heading[0]} | code | scheme | meaning | {heading[1]} |", "| --- | --- | --- | --- | --- |"]
    rows += [
        f"| `{x.where}` | {x.code.value} | {x.code.scheme_designator} | {x.code.meaning} | {x.says} |" for x in lines
    ]
    return "\n".join(rows)
