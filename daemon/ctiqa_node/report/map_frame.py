"""One frame of the quality maps: a slice under the map that a model made of it, with contours and numbers."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.patches import Polygon
from matplotlib.path import Path
from matplotlib.patheffects import withStroke
from scipy import ndimage

from ctiqa_node.report import codes as table
from ctiqa_node.report.canvas import DIM, SIZE, TEXT, Canvas, font, person_name
from ctiqa_node.report.content import Report, ReportedModel
from ctiqa_node.report.notable import NotableSlice
from ctiqa_node.report.outline import body_outline
from ctiqa_node.report.page_panels import MAP_COLOURS, MAP_LIMITS, MARKERS, caption, draw_colour_bar, left_side
from ctiqa_node.report.page_text import footer, slice_title
from ctiqa_node.report.series_header import patient_line, series_line, voi_window
from ctiqa_node.report.source import patient_and_study

_LEFT, _RIGHT, _TOP, _SIDE = 24, SIZE - 24, 106, 824
_LEVELS = (0.6, 0.7, 0.8, 0.9)
_OPACITY = 0.4
_SMOOTHING = 1 / 64  # both as shares of the slice's longer side
_SHORTEST_CONTOUR = 1 / 16
_LOWEST_TENTH = 10


@dataclass(frozen=True, slots=True, eq=False)
class MappedSlice:
    """A slice by its index along z, its map (uint8 [h, w]) with the model that made it, and its place if it has one."""

    slice_index: int
    model: ReportedModel
    values: npt.NDArray[np.uint8]
    notable: NotableSlice | None = None


def mapped_slices(report: Report) -> list[MappedSlice]:
    """The slices that the first model with maps made one of, in the order of the volume; none without maps."""
    if report.maps is None:
        return []
    model, maps = report.maps
    slices = range(min(len(maps), len(report.volume.sources)))
    return [MappedSlice(z, model, maps[z]) for z in slices if z not in model.unscored_slices]


def draw_map_frame(report: Report, mapped: MappedSlice) -> npt.NDArray[np.uint8]:
    """Draw a frame: uint8 RGB [1024, 1024, 3]. The same slice of the same report gives the same pixels.

    The map's meaning does not rest on colour: contours carry their values, and two numbers sum up what lies within the
    outline of the body, outside which nothing is coloured.
    """
    canvas = Canvas()
    hu = report.volume.hu[mapped.slice_index]
    quality = resampled(mapped.values, hu.shape)
    outline = body_outline(hu)
    _draw_heading(canvas, report, mapped)
    axes = canvas.axes(_LEFT, _TOP, _SIDE, _SIDE)
    with_contours = _draw_picture(axes, report, mapped.slice_index, quality, outline)
    draw_colour_bar(canvas, _LEFT + _SIDE + 22, _TOP + 30, _SIDE - 60)
    _draw_legend(canvas, report, mapped, quality[_inside(outline, hu.shape)], with_contours=with_contours)
    return canvas.pixels()


def resampled(values: npt.NDArray[np.uint8], shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """A map stretched bilinearly over the extent of a slice of a shape (rows, columns), as quality from 0 to 1."""
    rows, columns = shape
    quality = values.astype(np.float32) / np.float32(255)
    return np.asarray(cv2.resize(quality, (columns, rows), interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def _draw_heading(canvas: Canvas, report: Report, mapped: MappedSlice) -> None:
    if mapped.notable is None:
        title = slice_heading(report, mapped.slice_index)
    else:
        title = f"{MARKERS[mapped.notable.role][1]} {slice_title(report, mapped.notable)}"
    size = canvas.fitting(title, (24, 21, 18, 16), "bold", _RIGHT - _LEFT)
    canvas.text(_LEFT, 30 - size / 2, title, size, width=_RIGHT - _LEFT, weight="bold")
    who = f"{person_name(str(patient_and_study(report).PatientName))}  ·  {patient_line(report)}"
    canvas.text(_LEFT, 52, who, 15, width=_RIGHT - _LEFT)
    canvas.text(_LEFT, 75, series_line(report), 15, width=_RIGHT - _LEFT, color=DIM)


def slice_heading(report: Report, z: int) -> str:
    """The heading of a slice that no ranking chose: its number, and the values that slices rank by."""
    here = {m.name: m for model in report.scored for m in model.measurements if m.slice_index == z}
    values = [
        f"{table.quantity(name).title} {table.value_text(name, here[name].value, here[name].unit)}"
        for name in table.RANKED_BY
        if name in here
    ]
    text = f"Slice {z + 1} of {len(report.volume.sources)}"
    return f"{text}: {', '.join(values[:2])}" if values else text


def _draw_picture(
    axes: Axes,
    report: Report,
    z: int,
    quality: npt.NDArray[np.float32],
    outline: npt.NDArray[np.float64],
) -> bool:
    """The slice in its VOI window, the map over the body, and contours of the smoothed map; tells if there are any."""
    hu = report.volume.hu[z]
    rows, columns = hu.shape
    window = voi_window(report, z)
    low, high = window.limits
    extent = (0.0, float(columns), float(rows), 0.0)
    axes.set_facecolor("black")
    axes.imshow(hu, cmap="gray", vmin=low, vmax=high, extent=extent, interpolation="antialiased", aspect="auto")
    colour = axes.imshow(
        quality,
        cmap=MAP_COLOURS,
        vmin=MAP_LIMITS[0],
        vmax=MAP_LIMITS[1],
        extent=extent,
        alpha=_OPACITY,
        interpolation="antialiased",
        aspect="auto",
    )
    colour.set_clip_path(Polygon(outline, transform=axes.transData))
    with_contours = _draw_contours(axes, quality, _inside(outline, hu.shape))
    _fit(axes, rows, columns)
    axes.set_axis_off()
    caption(axes, f"W {window.width:g}  L {window.center:g}", left_side(report.volume.geometry))
    return with_contours


def _fit(axes: Axes, rows: int, columns: int) -> None:
    """Show the whole slice with square pixels in a square."""
    side = max(rows, columns)
    axes.set_xlim((columns - side) / 2, (columns + side) / 2)
    axes.set_ylim((rows + side) / 2, (rows - side) / 2)


def _draw_contours(axes: Axes, quality: npt.NDArray[np.float32], body: npt.NDArray[np.bool_]) -> bool:
    smooth = _smoothed(quality, body)
    levels = [level for level in _LEVELS if smooth.min() < level < smooth.max()]
    if not levels:
        return False
    rows, columns = quality.shape
    lines = axes.contour(
        np.arange(columns) + 0.5, np.arange(rows) + 0.5, smooth, levels=levels, colors="white", linewidths=1.2
    )
    paths = [_without_small_loops(path, _SHORTEST_CONTOUR * max(rows, columns)) for path in lines.get_paths()]
    lines.set_paths(paths)
    lines.set_path_effects([withStroke(linewidth=2.4, foreground="black")])
    for label in axes.clabel(lines, fmt="%.1f", inline=True, inline_spacing=6):
        label.set_fontproperties(font(14, "bold"))
        label.set_rotation(0)  # 0.9 on its head is 6.0
        label.set_path_effects([withStroke(linewidth=2.5, foreground="black")])
    return any(len(path) > 0 for path in paths)


def _smoothed(quality: npt.NDArray[np.float32], body: npt.NDArray[np.bool_]) -> np.ma.MaskedArray:
    """The map without detail that nobody could follow as a line; what lies outside the body has no part in it."""
    width = _SMOOTHING * max(quality.shape)
    weight = ndimage.gaussian_filter(body.astype(np.float32), width)
    total = ndimage.gaussian_filter(np.where(body, quality, 0).astype(np.float32), width)
    return np.ma.masked_where(~body, total / np.maximum(weight, 1e-6))


def _without_small_loops(path: Path, shortest: float) -> Path:
    """A path of several lines without those that are too small for a number on them."""
    lines = [line for line in path.to_polygons(closed_only=False) if np.ptp(line, axis=0).max() >= shortest]
    return Path.make_compound_path(*map(Path, lines)) if lines else Path(np.empty((0, 2)))


def _inside(outline: npt.NDArray[np.float64], shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    mask = np.zeros(shape, dtype=np.uint8)
    cv2.fillPoly(mask, [np.round(outline - 0.5).astype(np.int32)], 1)
    return mask.astype(np.bool_)


def _draw_legend(
    canvas: Canvas, report: Report, mapped: MappedSlice, body: npt.NDArray[np.float32], *, with_contours: bool
) -> None:
    width = _RIGHT - _LEFT
    summed = (
        f"{table.model_title(mapped.model.name)} {mapped.model.version} quality map within the body: "
        f"median {np.median(body):.2f}, lowest tenth below {np.percentile(body, _LOWEST_TENTH):.2f}"
    )
    size = canvas.fitting(summed, (16, 14, 12), "bold", width)
    canvas.text(_LEFT, 946 - size / 2, summed, size, width=width, weight="bold")
    lines = (
        "Lines with numbers join equal quality of the smoothed map"
        if with_contours
        else f"No lines: the smoothed map crosses none of {', '.join(map(str, _LEVELS))}"
    )
    meaning = f"0 is the worst and 1 the best quality. {lines}; colours beyond the bar look like its ends."
    canvas.text(_LEFT, 962, meaning, 13, width=width, color=DIM)
    canvas.rule(984, _LEFT, _RIGHT)
    canvas.text(_LEFT, 994, table.NOT_FOR_DIAGNOSIS, 15, width=400, weight="bold", color=TEXT)
    canvas.text(_RIGHT, 995, footer(report), 13, width=560, color=DIM, align="right")
