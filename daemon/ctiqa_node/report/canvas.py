"""A page to draw on in pixels from the upper left, with text that always fits: matplotlib's Agg, nothing global."""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path
from typing import Literal

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, get_font
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from pydicom.valuerep import PersonName

SIZE = 1024
_DPI = 100
BACKGROUND = "#0d1117"
RULE = "#3a4654"
DIM = "#a9b7c6"
TEXT = "#f0f4f8"
_FONTS = Path(mpl.get_data_path()) / "fonts" / "ttf"
Weight = Literal["normal", "bold"]


@cache
def font(pixels: float, weight: Weight = "normal") -> FontProperties:
    """DejaVu Sans as it comes with matplotlib, so that a page looks the same on every machine."""
    return FontProperties(fname=str(_font_file(weight)), size=pixels * 72 / _DPI)


def drawable(text: str) -> str:
    """Leave out what the font cannot draw, and line breaks."""
    glyphs = _glyphs()
    return " ".join("".join(c for c in text.replace("\n", " ") if ord(c) in glyphs).split())


def person_name(name: str) -> str:
    """A person's name for the page: the first component group that the font can draw in full, else what is left of it.

    Carets become ", " after the family name and spaces elsewhere.
    """
    groups = [group for group in str(name).split("=") if group.strip("^ ")]
    best = next((group for group in groups if drawable(group) == " ".join(group.split())), None)
    parts = PersonName(best if best is not None else drawable(groups[0]) if groups else "")
    given = " ".join(p for p in (parts.given_name, parts.middle_name) if p)
    shown = drawable(", ".join(p for p in (parts.family_name, given) if p))
    return shown or ("Name in characters that this page cannot draw" if groups else "Name not given")


class Canvas:
    """A square page of 1024 × 1024 pixels."""

    def __init__(self) -> None:
        self.figure = Figure(figsize=(SIZE / _DPI, SIZE / _DPI), dpi=_DPI, facecolor=BACKGROUND)
        self._agg = FigureCanvasAgg(self.figure)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        pixels: float,
        *,
        width: float,
        color: str = TEXT,
        weight: Weight = "normal",
        align: Literal["left", "right"] = "left",
        lines: int = 1,
    ) -> float:
        """Write text with its upper edge at y, wrapped to `lines` lines of `width` and then shortened.

        Returns the y below the last line.
        """
        for line in self.wrapped(drawable(text), pixels, weight, width, lines):
            self.figure.text(
                x / SIZE,
                1 - (y + 0.5 * pixels) / SIZE,
                line,
                fontproperties=font(pixels, weight),
                color=color,
                ha=align,
                va="center_baseline",
                parse_math=False,
            )
            y += 1.35 * pixels
        return y

    def width_of(self, text: str, pixels: float, weight: Weight) -> float:
        """The width of a line of text in pixels."""
        return _width(text, pixels, weight)

    def fitting(self, text: str, sizes: tuple[int, ...], weight: Weight, width: float) -> int:
        """The first of some sizes at which a line of text fits into a width; the last where none does."""
        return next((size for size in sizes if self.width_of(text, size, weight) <= width), sizes[-1])

    def wrapped(self, text: str, pixels: float, weight: Weight, width: float, lines: int) -> list[str]:
        """Break a text at blanks into at most `lines` lines; three dots stand for what does not fit."""
        rest = text.split()
        result: list[str] = []
        while rest and len(result) < lines:
            count = len(rest) if len(result) == lines - 1 else 1
            while count < len(rest) and self.width_of(" ".join(rest[: count + 1]), pixels, weight) <= width:
                count += 1
            result.append(self._shortened(" ".join(rest[:count]), pixels, weight, width))
            rest = rest[count:]
        return result

    def _shortened(self, text: str, pixels: float, weight: Weight, width: float) -> str:
        if self.width_of(text, pixels, weight) <= width:
            return text
        low, high = 0, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            if self.width_of(text[:middle].rstrip() + "…", pixels, weight) <= width:
                low = middle
            else:
                high = middle - 1
        return text[:low].rstrip() + "…"

    def rule(self, y: float, left: float, right: float) -> None:
        """Draw a thin horizontal line."""
        self.figure.add_artist(Line2D([left / SIZE, right / SIZE], [1 - y / SIZE] * 2, color=RULE, linewidth=0.8))

    def box(self, left: float, top: float, width: float, height: float) -> None:
        """Fill a rectangle with the colour of text, for dark text on it."""
        corner = (left / SIZE, 1 - (top + height) / SIZE)
        self.figure.add_artist(Rectangle(corner, width / SIZE, height / SIZE, color=TEXT, linewidth=0, zorder=-1))

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes over a rectangle in pixels."""
        return self.figure.add_axes((left / SIZE, 1 - (top + height) / SIZE, width / SIZE, height / SIZE))

    def pixels(self) -> npt.NDArray[np.uint8]:
        """The finished page as RGB, uint8 [1024, 1024, 3]."""
        self._agg.draw()
        return np.ascontiguousarray(np.asarray(self._agg.buffer_rgba(), dtype=np.uint8)[..., :3])


@lru_cache(maxsize=4096)
def _width(text: str, pixels: float, weight: Weight) -> float:
    """A line's width in pixels; kept, as pages ask for the same words again, and measuring was half of their time."""
    width: float = _renderer().get_text_width_height_descent(text, font(pixels, weight), ismath=False)[0]
    return float(width)


@cache
def _renderer() -> RendererAgg:
    return RendererAgg(1, 1, _DPI)


def _font_file(weight: Weight) -> Path:
    return _FONTS / ("DejaVuSans-Bold.ttf" if weight == "bold" else "DejaVuSans.ttf")


@cache
def _glyphs() -> frozenset[int]:
    return frozenset(get_font(str(_font_file("normal"))).get_charmap()) & frozenset(
        get_font(str(_font_file("bold"))).get_charmap()
    )
