"""The panels of the summary page: the table, the curves over slices, the pictures of slices with their maps."""

from __future__ import annotations

from itertools import accumulate

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.image import AxesImage
from matplotlib.patches import Polygon
from matplotlib.ticker import MaxNLocator

from ctiqa_node.ct.volume import Geometry
from ctiqa_node.report import codes as table
from ctiqa_node.report.canvas import BACKGROUND, DIM, RULE, TEXT, Canvas, Weight, font
from ctiqa_node.report.content import Report
from ctiqa_node.report.notable import NotableSlice, Role
from ctiqa_node.report.outline import body_outline
from ctiqa_node.report.page_text import Row, plotted, short_slice_title, slice_title, table_rows
from ctiqa_node.report.series_header import voi_window

MARKERS = {Role.WORST: ("v", "▼"), Role.BEST: ("^", "▲"), Role.MIDDLE: ("o", "●"), Role.ONLY: ("o", "●")}
_CURVE = "#7cc4ff"
_MARK = "#ffd166"
MAP_COLOURS = mpl.colormaps["cividis"]
MAP_LIMITS = (0.5, 1.0)  # where the maps of usable slices lie; worse is drawn as the worst
_NEEDED_LINES = 2
_BARE_ROW = 26.0  # height without a reading
_MARGIN = 0.06  # of the body's size, kept around it on the pictures


def draw_table(canvas: Canvas, report: Report, left: float, top: float, width: float, bottom: float) -> None:
    """Draw the values; where there is little room the explanations give way first, then the last rows."""
    rows = table_rows(report) or [Row("No model ran", "")]
    room = bottom - top
    for lines in (3, 2, 1, 0):
        if sum(_row_height(canvas, row, width, lines) for row in rows) <= room:
            break
    for row in _fitting(canvas, rows, width, lines, room):
        height = _row_height(canvas, row, width, lines)
        _draw_row(canvas, row, (left, top, width, height), _lines(row, lines))
        top += height


def _fitting(canvas: Canvas, rows: list[Row], width: float, lines: int, room: float) -> list[Row]:
    """The first rows that fit, and one that counts the others."""
    totals = list(accumulate(_row_height(canvas, row, width, lines) for row in rows))
    if totals[-1] <= room:
        return rows
    shown = sum(1 for total in totals if total <= room - _BARE_ROW)
    return [*rows[:shown], Row(f"and {len(rows) - shown} more in the structured report", "")]


def _draw_row(canvas: Canvas, row: Row, box: tuple[float, float, float, float], lines: int) -> None:
    """Draw a row in a box (left, top, width, height); one that stands out is dark on light."""
    left, top, width, height = box
    colour, dim = TEXT, DIM
    if row.stands_out:
        canvas.box(left, top - 4, width, height - 2)
        left, width, colour, dim = left + 6, width - 12, BACKGROUND, BACKGROUND
    value_width = canvas.width_of(row.value, 16, "bold")
    title: Weight = "bold" if row.stands_out else "normal"
    canvas.text(left, top, row.title, 15, width=width - value_width - 12, color=colour, weight=title)
    canvas.text(left + width, top, row.value, 16, width=width, weight="bold", align="right", color=colour)
    if lines:
        canvas.text(left, top + 20, row.reading, 12, width=width, color=dim, lines=lines)
    if not row.stands_out:
        canvas.rule(top + height - 4, left, left + width)


def _lines(row: Row, lines: int) -> int:
    return max(lines, _NEEDED_LINES) if row.is_needed else lines


def _row_height(canvas: Canvas, row: Row, width: float, lines: int) -> float:
    reading = canvas.wrapped(row.reading, 12, "normal", width, _lines(row, lines)) if _lines(row, lines) else []
    return _BARE_ROW + 16.2 * len(reading)


def draw_curves(
    canvas: Canvas,
    report: Report,
    notable: tuple[NotableSlice, ...],
    box: tuple[float, float, float, float],
) -> None:
    """Draw one or two measurements over the slices in a box (left, top, width, height), with the notable slices."""
    left, top, width, height = box
    names = plotted(report)
    if not names:
        canvas.text(left, top, "No values by slice.", 15, width=width, color=DIM)
        return
    each = (height - 22) / len(names)
    for place, name in enumerate(names):
        axes = canvas.axes(left + 42, top + place * each + 24, width - 58, each - 48)
        _draw_curve(axes, report, name, notable)
        entry = table.quantity(name)
        unit = next(m.unit for model in report.scored for m in model.measurements if m.name == name)
        symbol = table.value_text(name, 0.0, unit).partition(" ")[2]
        title = f"{entry.title}{f' ({symbol})' if symbol else ''} by slice"
        canvas.text(left, top + place * each, title, 14, width=width)
    roles = dict.fromkeys(item.role for item in notable)
    legend = ";  ".join(["slice number", *(f"{MARKERS[role][1]} {role.value}" for role in roles)])
    canvas.text(left + width, top + height - 16, legend, 12, width=width, color=DIM, align="right")


def _draw_curve(axes: Axes, report: Report, name: str, notable: tuple[NotableSlice, ...]) -> None:
    values = report.slice_values(name)
    count = len(report.volume.sources)
    curve = np.full(count, np.nan)
    for z, value in values.items():
        if 0 <= z < count:
            curve[z] = value
    axes.set_facecolor(BACKGROUND)
    axes.plot(np.arange(1, count + 1), curve, color=_CURVE, linewidth=1.4, marker="." if count <= 40 else "")
    for item in notable:
        if np.isfinite(curve[item.slice_index]):
            axes.plot(
                item.slice_index + 1,
                curve[item.slice_index],
                marker=MARKERS[item.role][0],
                color=_MARK if item.role is Role.WORST else TEXT,
                markersize=8,
                markeredgecolor=BACKGROUND,
                clip_on=False,
                zorder=3,
            )
    _frame(axes, curve, count, table.quantity(name))


def _frame(axes: Axes, curve: npt.NDArray[np.float64], count: int, entry: table.Quantity) -> None:
    finite = curve[np.isfinite(curve)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    room = max(0.12 * (high - low), (entry.plot_range - (high - low)) / 2, 1e-3)
    axes.set_ylim(low - room if low < 0 else max(0.0, low - room), min(high + room, max(high, entry.highest)))
    axes.set_xlim(0.5, count + 0.5)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    axes.grid(color=RULE, linewidth=0.5)
    axes.tick_params(colors=DIM, length=3)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_fontproperties(font(12))
    for spine in axes.spines.values():
        spine.set_color(RULE)


def draw_slice(
    canvas: Canvas, report: Report, notable: NotableSlice, box: tuple[float, float, float], *, with_map: bool
) -> None:
    """Draw a slice in a box (left, top, side of a picture), and its quality map to the right of it."""
    left, top, side = box
    z = notable.slice_index
    hu = report.volume.hu[z]
    window = voi_window(report, z)
    words = slice_title(report, notable) if with_map else short_slice_title(report, notable)
    title_width = 2 * side + 8 if with_map else side
    title = f"{MARKERS[notable.role][1]} {words}"
    size = canvas.fitting(title, (14, 13, 12), "bold", title_width)
    canvas.text(left, top, title, size, width=title_width, weight="bold")
    frame = _square_around_body(hu)
    picture = canvas.axes(left, top + 22, side, side)
    low, high = window.limits
    _image(picture, hu, frame, "gray", (low, high))
    caption(picture, f"W {window.width:g}  L {window.center:g}", left_side(report.volume.geometry))
    maps = report.maps
    if with_map and maps is not None and z < len(maps[1]):
        axes = canvas.axes(left + side + 8, top + 22, side, side)
        shown = _image(axes, maps[1][z] / 255.0, frame, MAP_COLOURS, MAP_LIMITS, shape=hu.shape)
        # Air is like air at any dose: what a map says there would only draw the eye away from the body.
        shown.set_clip_path(Polygon(body_outline(hu), transform=axes.transData))
        caption(axes, f"{table.model_title(maps[0].name)} quality map", "")


def draw_colour_bar(canvas: Canvas, left: float, top: float, height: float) -> None:
    """Draw the colour bar of the quality maps."""
    axes = canvas.axes(left, top, 12, height)
    canvas.figure.colorbar(ScalarMappable(Normalize(*MAP_LIMITS), MAP_COLOURS), cax=axes)
    axes.set_yticks([0.5, 0.6, 0.7, 0.8, 0.9, 1.0], ["0.5", "0.6", "0.7", "0.8", "0.9", "1"])
    axes.tick_params(colors=TEXT, length=3, pad=2)
    for label in axes.get_yticklabels():
        label.set_fontproperties(font(12))
    canvas.text(left + 34, top - 24, "better", 12, width=60, align="right")
    canvas.text(left + 34, top + height + 9, "worse", 12, width=60, align="right")


def _image(
    axes: Axes,
    values: npt.NDArray[np.floating],
    frame: tuple[float, float, float, float],
    colours: str | Colormap,
    limits: tuple[float, float],
    shape: tuple[int, ...] | None = None,
) -> AxesImage:
    """Show an image stretched over the extent of a slice, cut to a frame (left, top, right, bottom) in its pixels."""
    rows, columns = shape or values.shape
    axes.set_facecolor("black")
    image = axes.imshow(
        values,
        cmap=colours,
        vmin=limits[0],
        vmax=limits[1],
        extent=(0, columns, rows, 0),
        interpolation="antialiased",
        aspect="auto",
    )
    axes.set_xlim(frame[0], frame[2])
    axes.set_ylim(frame[3], frame[1])
    axes.set_axis_off()
    return image


def _square_around_body(hu: npt.NDArray[np.float32]) -> tuple[float, float, float, float]:
    """The smallest square with a margin that holds the body, within the slice where that is possible."""
    outline = body_outline(hu)
    (left, top), (right, bottom) = outline.min(axis=0), outline.max(axis=0)
    side = min(max(right - left, bottom - top) * (1 + 2 * _MARGIN), float(max(hu.shape)))
    x, y = (left + right - side) / 2, (top + bottom - side) / 2
    x = float(np.clip(x, min(0.0, hu.shape[1] - side), max(0.0, hu.shape[1] - side)))
    y = float(np.clip(y, min(0.0, hu.shape[0] - side), max(0.0, hu.shape[0] - side)))
    return x, y, x + side, y + side


def left_side(geometry: Geometry) -> str:
    """The letter of the patient's side at the left edge of the image (PS3.3 C.7.6.1.1.1): R, L, A, P, H or F."""
    cosine = np.asarray(geometry.row_cosine, dtype=np.float64)
    axis = int(np.argmax(np.abs(cosine)))
    return ("RL", "AP", "FH")[axis][0 if cosine[axis] > 0 else 1]


def caption(axes: Axes, words: str, side: str) -> None:
    """Write words into the lower left corner of a picture, and the letter of a side at its left edge."""
    for x, y, text, across, up in ((0.02, 0.02, words, "left", "bottom"), (0.02, 0.5, side, "left", "center")):
        if text:
            axes.text(
                x,
                y,
                text,
                transform=axes.transAxes,
                fontproperties=font(12),
                color="white",
                ha=across,
                va=up,
                parse_math=False,
                bbox={"facecolor": "black", "edgecolor": "none", "pad": 1.5, "alpha": 0.6},
            )
