"""The results as a PDF: the summary page, and every number behind it as text that can be searched and copied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import BytesIO
from xml.sax.saxutils import escape

from PIL import Image as Picture
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, Image, LongTable, PageBreak, Paragraph, SimpleDocTemplate, Spacer, TableStyle

from ctiqa_node.report import codes as table
from ctiqa_node.report.agreement import window_agreement
from ctiqa_node.report.canvas import Weight, drawable, font, person_name
from ctiqa_node.report.content import Report, ReportedModel, ReportStatus
from ctiqa_node.report.page_text import (
    decisions,
    footer,
    headline,
    model_name,
    remark_lines,
    value_in_words,
    whole_model_lines,
)
from ctiqa_node.report.series_header import acquisition_line, patient_line, series_line, study_line
from ctiqa_node.report.source import patient_and_study
from ctiqa_node.report.summary_page import summary_page

_REGULAR, _BOLD = "CtiqaSans", "CtiqaSans-Bold"
_MARGIN = 18 * mm
_FRAME_PADDING = 6  # points, which reportlab keeps free within the margins
_WIDTH = A4[0] - 2 * _MARGIN
_COLUMNS = 6  # of values beside the slice's number; more stand in a table of their own
_GREY, _LINE = HexColor("#4a5560"), HexColor("#c5ccd3")
_TITLE = ParagraphStyle("title", fontName=_BOLD, fontSize=14, leading=18)
_HEADING = ParagraphStyle(
    "heading", fontName=_BOLD, fontSize=11, leading=14, spaceBefore=9, spaceAfter=4, keepWithNext=1
)
_TEXT = ParagraphStyle("text", fontName=_REGULAR, fontSize=8.5, leading=11.5, splitLongWords=1)
_ENTRY = ParagraphStyle("entry", parent=_TEXT, spaceAfter=4)
_CELL = ParagraphStyle("cell", parent=_TEXT, fontSize=8, leading=10)
_HEAD_CELL = ParagraphStyle("head cell", parent=_CELL, fontName=_BOLD)
_STYLE = TableStyle(
    [
        ("FONT", (0, 0), (-1, -1), _REGULAR, 8, 10),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LINEBELOW", (0, 0), (-1, -1), 0.4, _LINE),
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("RIGHTPADDING", (0, 0), (-1, -1), 6),
        ("TOPPADDING", (0, 0), (-1, -1), 2),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
    ]
)


def pdf_document(report: Report) -> bytes:
    """Write the PDF: A4, DejaVu Sans embedded, text in Latin, Greek and Cyrillic letters.

    Characters without a glyph are left out, as on the summary page. The document has no time of its own; the same
    report gives the same bytes.
    """
    _register_fonts()
    buffer = BytesIO()
    document = SimpleDocTemplate(
        buffer,
        pagesize=A4,
        leftMargin=_MARGIN - _FRAME_PADDING,
        rightMargin=_MARGIN - _FRAME_PADDING,
        topMargin=16 * mm,
        bottomMargin=18 * mm,
        title="CT image quality",
        author="ctiqa-node",
        subject=table.NOT_FOR_DIAGNOSIS,
        invariant=1,
    )

    def decorate(canvas: Canvas, _document: SimpleDocTemplate) -> None:
        _draw_footer(canvas, report)

    document.build(list(_story(report)), onFirstPage=decorate, onLaterPages=decorate)
    return buffer.getvalue()


def _register_fonts() -> None:
    weights: tuple[tuple[str, Weight], ...] = ((_REGULAR, "normal"), (_BOLD, "bold"))
    for name, weight in weights:
        if name not in pdfmetrics.getRegisteredFontNames():
            pdfmetrics.registerFont(TTFont(name, font(10, weight).get_file()))


def _story(report: Report) -> Iterator[Flowable]:
    yield _paragraph(person_name(str(patient_and_study(report).PatientName)), _TITLE)
    for line in (patient_line(report), study_line(report), series_line(report), acquisition_line(report)):
        yield _paragraph(line, _TEXT)
    yield Spacer(1, 2 * mm)
    yield _paragraph(headline(report), _HEADING)
    yield _summary(report)
    yield PageBreak()
    for title, flowables in _sections(report):
        yield _paragraph(title, _HEADING)
        yield from flowables


def _sections(report: Report) -> Iterator[tuple[str, list[Flowable]]]:
    values = list(_value_rows(report))
    classes = [row for model in report.scored for row in _class_rows(model)]
    missing = list(_missing_rows(report))
    if values:
        yield (
            "Values of the series",
            [_table(("Measure", "Value", "How to read it", "Model"), values, (38, 24, 80, 32))],
        )
    if classes:
        yield "Classes", [_table(("Decision", "Class", "Probability", "Model"), classes, (72, 36, 30, 36))]
    if missing:
        yield "Not scored", [_table(("Model", "Reason"), missing, (46, 128))]
    yield "Remarks", [_paragraph(line, _ENTRY) for line in _remarks(report)]
    yield "Models", [_paragraph(line, _ENTRY) for line in whole_model_lines(report)] or [_paragraph("none", _TEXT)]
    tables = list(_slice_tables(report))
    if tables:
        yield "Values by slice", tables


def _value_rows(report: Report) -> Iterator[tuple[str, ...]]:
    for model in report.scored:
        for m in model.series_measurements:
            entry = table.quantity(m.name)
            yield entry.title, value_in_words(m), entry.reading, model_name(model)


def _class_rows(model: ReportedModel) -> Iterator[tuple[str, ...]]:
    for c in (c for _, classes in decisions(model) for c in classes):
        yield table.evaluation_title(c.name), c.label, f"{100 * c.probability:.1f} %", model_name(model)


def _missing_rows(report: Report) -> Iterator[tuple[str, ...]]:
    for model in report.models:
        if model.status is ReportStatus.NOT_SCORED:
            yield model_name(model), model.reason or "no reason given"


def _remarks(report: Report) -> list[str]:
    agreement = window_agreement(report)
    against_tags = [] if agreement is None else [f"Window class and tags: {agreement.word}; {agreement.sentence}."]
    return [*against_tags, *remark_lines(report)]


def _slice_tables(report: Report) -> Iterator[Flowable]:
    """Every value of every slice, by the number of the slice and the SOP Instance's own number."""
    everything = [m for model in report.scored for m in model.measurements if m.slice_index is not None]
    names = list(dict.fromkeys(m.name for m in everything))
    cells = {(m.name, m.slice_index): table.value_text(m.name, m.value, m.unit) for m in everything}
    sources = report.volume.sources
    for first in range(0, len(names), _COLUMNS):
        chosen = names[first : first + _COLUMNS]
        heading = ("Slice", "Instance", *(table.quantity(name).title for name in chosen))
        rows = [
            (str(z + 1), _number_of(report, z), *(cells.get((name, z), "–") for name in chosen))
            for z in range(len(sources))
        ]
        widths = (16, 20, *((138 / len(chosen),) * len(chosen)))
        yield _table(heading, rows, widths)
        yield Spacer(1, 4 * mm)


def _number_of(report: Report, z: int) -> str:
    source = report.volume.sources[z]
    number = "–" if source.instance_number is None else str(source.instance_number)
    return number if source.frame_number is None else f"{number} / {source.frame_number}"


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[float]) -> Flowable:
    """A table whose heading stands again on each page; `widths` are millimetres. Long cells wrap."""
    cells = [
        [_paragraph(words, _HEAD_CELL) for words in heading],
        *([_cell(words, width) for words, width in zip(row, widths, strict=True)] for row in rows),
    ]
    result = LongTable(cells, colWidths=[width * mm for width in widths], repeatRows=1, hAlign="LEFT")
    result.setStyle(_STYLE)
    return result


def _cell(words: str, width: float) -> Flowable | str:
    """A cell; short ones as plain text, which reportlab sets many times faster."""
    text = drawable(words)
    return text if pdfmetrics.stringWidth(text, _REGULAR, 8) <= width * mm - 6 else _paragraph(words, _CELL)


def _paragraph(words: str, style: ParagraphStyle) -> Paragraph:
    return Paragraph(escape(drawable(words)) or "–", style)


def _summary(report: Report) -> Image:
    buffer = BytesIO()
    Picture.fromarray(summary_page(report)).save(buffer, "PNG")
    buffer.seek(0)
    return Image(buffer, width=_WIDTH, height=_WIDTH)


def _draw_footer(canvas: Canvas, report: Report) -> None:
    canvas.setStrokeColor(_LINE)
    canvas.line(_MARGIN, 14 * mm, A4[0] - _MARGIN, 14 * mm)
    canvas.setFillColor(_GREY)
    canvas.setFont(_BOLD, 8)
    canvas.drawString(_MARGIN, 10 * mm, table.NOT_FOR_DIAGNOSIS)
    canvas.setFont(_REGULAR, 7)
    canvas.drawRightString(A4[0] - _MARGIN, 10 * mm, f"{drawable(footer(report))}  ·  page {canvas.getPageNumber()}")
