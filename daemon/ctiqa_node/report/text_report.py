"""The results as a text report: an Enhanced SR of headings and lines, for archives and viewers that show no other."""

from __future__ import annotations

from collections.abc import Iterator

from highdicom.sr import (
    CodedConcept,
    ContainerContentItem,
    ContentSequence,
    EnhancedSR,
    LanguageOfContentItemAndDescendants,
    RelationshipTypeValues,
    TextContentItem,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian

from ctiqa_node.report import codes as table
from ctiqa_node.report.agreement import window_agreement
from ctiqa_node.report.content import Report, ReportStatus
from ctiqa_node.report.notable import notable_slices
from ctiqa_node.report.objects import device_observer, evidence, instance_uid, our_coding_scheme, series_uid
from ctiqa_node.report.page_text import (
    decisions,
    footer,
    headline,
    model_name,
    remark_lines,
    slice_title,
    value_in_words,
    whole_model_lines,
)
from ctiqa_node.report.predecessors import name_replaced_document
from ctiqa_node.report.series_header import acquisition_line, series_line
from ctiqa_node.report.source import dress, plain
from ctiqa_node.report.uids import DEVICE_MODEL, ResultKind

SERIES_DESCRIPTION = "CT image quality: text report"
_ENGLISH = CodedConcept("en-US", "RFC5646", "English (United States)")
_CONTAINS = RelationshipTypeValues.CONTAINS
_Line = tuple[Code, str]


def text_report(report: Report) -> Dataset:
    """Write the results as Enhanced SR of nothing but headings and text, with file meta information.

    It follows no template, and its title is our own: an archive takes it neither for a measurement report nor for a
    radiologist's. All content is ASCII; the same report gives the same data set, byte for byte. The structured report
    has what is said here as numbers and codes.
    """
    result = EnhancedSR(
        evidence=evidence(report, report.volume.sources),
        content=_content(report),
        series_instance_uid=series_uid(report, ResultKind.TEXT_REPORT),
        series_number=report.text_report_series_number,
        sop_instance_uid=instance_uid(report, ResultKind.TEXT_REPORT),
        instance_number=report.revision,
        manufacturer=DEVICE_MODEL,
        is_complete=True,
        is_final=True,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        specific_character_set=None,  # dress() sets it: the source's own may be one that highdicom refuses
        coding_schemes=[our_coding_scheme()],
    )
    dress(result, report, ResultKind.TEXT_REPORT, SERIES_DESCRIPTION, report.text_report_series_number)
    name_replaced_document(result, report)
    return result


def _content(report: Report) -> ContainerContentItem:
    root = ContainerContentItem(name=table.REPORT_TITLE)
    content = ContentSequence(is_root=False)
    content.extend(LanguageOfContentItemAndDescendants(_ENGLISH))
    content.extend(device_observer(report))
    content.append(_text(codes.DCM.Summary, headline(report)))
    content.append(_text(table.CAVEAT, table.NOT_FOR_DIAGNOSIS))
    for heading, lines in _sections(report):
        if lines:
            section = ContainerContentItem(name=heading, relationship_type=_CONTAINS)
            section.ContentSequence = ContentSequence([_text(name, words) for name, words in lines])
            content.append(section)
    root.ContentSequence = content
    return root


def _text(name: Code, words: str) -> TextContentItem:
    """A line; the dots in the middle, which the page sets between parts, have no ASCII."""
    return TextContentItem(name=name, value=plain(words.replace("  ·  ", ", ")) or "-", relationship_type=_CONTAINS)


def _sections(report: Report) -> Iterator[tuple[Code, list[_Line]]]:
    source = [(table.ASSESSED_SERIES, series_line(report)), (table.ACQUISITION, acquisition_line(report))]
    yield table.ASSESSED_SERIES, source
    yield table.SERIES_VALUES, list(_values(report))
    yield table.SERIES_CLASSES, list(_classes(report))
    yield table.NOT_SCORED, list(_not_scored(report))
    slices = [(table.SLICE_ROLE, f"{slice_title(report, notable)}.") for notable in notable_slices(report)]
    yield table.CHOSEN_SLICES, slices
    yield table.REMARKS, [(table.REMARK, words) for words in remark_lines(report)]
    models = [(table.MODEL, line) for line in whole_model_lines(report)]
    yield table.MODELS, [*models, (table.WRITTEN_BY, footer(report))]


def _values(report: Report) -> Iterator[_Line]:
    """Each value with its name: OHIF shows the text of a line, not the concept's name, and runs lines together."""
    for model in report.scored:
        for m in model.series_measurements:
            entry = table.quantity(m.name)
            reading = f" ({entry.reading})" if entry.reading else ""
            yield entry.code, f"{entry.title} {value_in_words(m)}{reading}, by {model_name(model)}."


def _classes(report: Report) -> Iterator[_Line]:
    """All classes with their probabilities, the likeliest first; then whether they fit the tags."""
    for model in report.scored:
        for name, classes in decisions(model):
            words = ", ".join(table.class_text(c.label, c.probability) for c in classes)
            reading = table.EVALUATION_READINGS.get(name, "")
            line = f"{table.evaluation_title(name)} {words}"
            yield table.evaluation_code(name), f"{line}; {reading}." if reading else f"{line}."
    agreement = window_agreement(report)
    if agreement is not None:
        yield table.WINDOW_AGREEMENT, f"{agreement.word}: {agreement.sentence}"


def _not_scored(report: Report) -> Iterator[_Line]:
    for model in report.models:
        if model.status is ReportStatus.NOT_SCORED:
            yield table.NOT_SCORED, f"{model_name(model)}: {model.reason or 'no reason given'}"
