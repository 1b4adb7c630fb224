"""The summary page: the result of one series on one picture that a person reads in a few seconds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ctiqa_node.report.canvas import DIM, SIZE, TEXT, Canvas, person_name
from ctiqa_node.report.codes import NOT_FOR_DIAGNOSIS
from ctiqa_node.report.content import Report
from ctiqa_node.report.notable import NotableSlice, Role, shown_slices
from ctiqa_node.report.page_panels import draw_colour_bar, draw_curves, draw_slice, draw_table
from ctiqa_node.report.page_text import footer, headline, model_lines, plotted, remark_lines
from ctiqa_node.report.series_header import acquisition_line, patient_line, series_line, study_line
from ctiqa_node.report.source import patient_and_study

_LEFT, _RIGHT = 24, SIZE - 24
_TOP_OF_PANELS, _BOTTOM_OF_PANELS = 178, 782
_TOP_OF_CURVES = 532
_COLUMN = 376  # width of the left column: table and curves
_PICTURES = 424  # left edge of the pictures
_SIDE = 268  # of one picture
_LIST_WIDTH = _RIGHT - _LEFT - 84
_PROVENANCE_LINES, _REMARK_LINES = 10, 4


def summary_page(report: Report) -> npt.NDArray[np.uint8]:
    """Draw the page: uint8 RGB [1024, 1024, 3]. The same report gives the same pixels."""
    canvas = Canvas()
    notable = shown_slices(report)
    _draw_heading(canvas, report)
    top = _TOP_OF_CURVES if plotted(report) else _BOTTOM_OF_PANELS - 24
    draw_table(canvas, report, _LEFT, _TOP_OF_PANELS, _COLUMN, top - 10)
    draw_curves(canvas, report, notable, (_LEFT, top, _COLUMN, _BOTTOM_OF_PANELS - top))
    _draw_pictures(canvas, report, notable)
    _draw_provenance(canvas, report)
    return canvas.pixels()


def _draw_heading(canvas: Canvas, report: Report) -> None:
    name = person_name(str(patient_and_study(report).PatientName))
    half = (_RIGHT - _LEFT) / 2
    name_width = _RIGHT - _LEFT - 200
    size = canvas.fitting(name, (22, 19, 16), "bold", name_width)
    canvas.text(_LEFT, 29 - size / 2, name, size, width=name_width, weight="bold")
    canvas.text(_RIGHT, 20, "CT image quality", 18, width=210, color=DIM, align="right")
    canvas.text(_LEFT, 49, patient_line(report), 15, width=half - 10)
    canvas.text(_RIGHT, 49, study_line(report), 15, width=half - 10, align="right")
    canvas.text(_LEFT, 71, series_line(report), 15, width=_RIGHT - _LEFT)
    canvas.text(_LEFT, 93, acquisition_line(report), 15, width=_RIGHT - _LEFT)
    canvas.rule(118, _LEFT, _RIGHT)
    sentence = headline(report)
    size = canvas.fitting(sentence, (25, 22, 19, 16), "bold", _RIGHT - _LEFT)
    canvas.text(_LEFT, 142 - size / 2, sentence, size, width=_RIGHT - _LEFT, weight="bold")
    canvas.rule(166, _LEFT, _RIGHT)


def _draw_pictures(canvas: Canvas, report: Report, notable: tuple[NotableSlice, ...]) -> None:
    """With maps the worst slice above the best one, each beside its map; without maps up to four slices."""
    has_map = report.maps is not None
    left, top, step = _PICTURES, _TOP_OF_PANELS, _SIDE + 38
    if len(notable) == 1 and not has_map:
        draw_slice(canvas, report, notable[0], (left, top, 2 * _SIDE + 8), with_map=False)
        return
    if not has_map:
        for place, item in enumerate(notable):
            corner = (left + place % 2 * (_SIDE + 8), top + place // 2 * step)
            draw_slice(canvas, report, item, (*corner, _SIDE), with_map=False)
        return
    chosen = [item for item in notable if item.role is not Role.WORST or item.rank == 1]
    for place, item in enumerate(chosen):
        draw_slice(canvas, report, item, (left, top + place * step, _SIDE), with_map=True)
    draw_colour_bar(canvas, left + 2 * _SIDE + 16, top + 42, len(chosen) * step - 78)


def _draw_provenance(canvas: Canvas, report: Report) -> None:
    y = _BOTTOM_OF_PANELS + 8.0
    canvas.rule(y, _LEFT, _RIGHT)
    remarks = remark_lines(report)
    room = min(_lines_needed(canvas, remarks, _LIST_WIDTH, 2), _REMARK_LINES)
    y = _draw_list(canvas, "Models", model_lines(report), _PROVENANCE_LINES - room, y + 8)
    _draw_list(canvas, "Remarks", remarks, room, y + 4)
    canvas.rule(984, _LEFT, _RIGHT)
    canvas.text(_LEFT, 994, NOT_FOR_DIAGNOSIS, 15, width=400, weight="bold", color=TEXT)
    canvas.text(_RIGHT, 995, footer(report), 13, width=560, color=DIM, align="right")


def _draw_list(canvas: Canvas, title: str, entries: list[str], room: int, y: float) -> float:
    """Write entries into `room` lines, wrapped as long as there is room for that; returns the y below."""
    more = len(entries) - room
    shown = entries if more <= 0 else [*entries[: room - 1], f"and {more + 1} more in the structured report"]
    canvas.text(_LEFT, y, title, 13, width=80, weight="bold")
    spare = room - len(shown)
    for entry in shown:
        lines = len(canvas.wrapped(entry, 13, "normal", _LIST_WIDTH, 1 + spare))
        spare -= lines - 1
        y = canvas.text(_LEFT + 84, y, entry, 13, width=_LIST_WIDTH, color=DIM, lines=lines)
    return y


def _lines_needed(canvas: Canvas, entries: list[str], width: float, lines: int) -> int:
    return sum(len(canvas.wrapped(entry, 13, "normal", width, lines)) for entry in entries)
