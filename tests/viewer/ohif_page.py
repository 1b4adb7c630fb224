"""OHIF in a browser, as a person uses it: open a study, open a series, read what stands there, look at the picture."""

from __future__ import annotations

import base64
import io
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from support.waiting import eventually

PATIENCE = 180.0
"""Seconds that anything may take: without a GPU, beside other work, opening a study has taken half a minute."""
_SIZE = {"width": 1920, "height": 1080}
_SOFTWARE_WEBGL = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
_ALONE = ("--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync")
# The frame in which Chromium shows a PDF has the page's origin and no storage.
_NO_TOUR = "if (origin.startsWith('http')) localStorage?.setItem('shownTours', JSON.stringify(['basicViewerTour']))"
_PANE = '[data-cy="viewport-pane"]'
_ARROWS = f'{_PANE} svg:has(title:text-is("arrow-left"))'  # both are named so; the first leads back, the second on

Pixels = npt.NDArray[np.uint8]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels of the page."""


class Ohif:
    """OHIF on a page of a browser. Screenshots go into a folder, by their names."""

    def __init__(self, page: Page, shots: Path) -> None:
        self._page = page
        self._shots = shots
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def open_study(self, address: str) -> None:
        """Open a study as if nothing had been opened before, and wait for its first slice."""
        self._page.goto("about:blank")
        self._page.goto(address)
        self._page.locator(f"{_PANE} canvas").wait_for()
        eventually(lambda: self.canvas().max() > 0, PATIENCE)

    def open_series(self, number: int) -> None:
        """Double-click a series in the list on the left."""
        self._page.get_by_text(f"S:{number}", exact=True).dblclick()

    def series_listed(self, number: int) -> str:
        """The modality and the description that the list shows for a series."""
        return self._page.get_by_text(f"S:{number}", exact=True).locator("xpath=../../..").inner_text()

    def text(self) -> str:
        """All that the viewport says in letters, as one line."""
        return re.sub(r"\s+", " ", self._page.locator(_PANE).inner_text())

    def slice_shown(self) -> int:
        """The Instance Number in the corner of the viewport, 0 without one."""
        found = re.search(r"I: ?(\d+) \(", self.text())
        return int(found[1]) if found else 0

    def wait_for_text(self, words: str) -> None:
        """Wait until the viewport says it."""
        eventually(lambda: words in self.text(), PATIENCE)

    def annotations(self) -> list[str]:
        """The lines of text that are written over the picture."""
        lines = self._page.locator(f"{_PANE} .svg-layer tspan").all_text_contents()
        return [re.sub(r"\s+", " ", line).strip() for line in lines]

    def annotation_boxes(self) -> list[Box]:
        """Where these lines stand on the page."""
        return self._boxes(f"{_PANE} .svg-layer tspan")

    def outline_boxes(self) -> list[Box]:
        """Where the outlines lie on the page."""
        return self._boxes(f"{_PANE} .svg-layer polyline, {_PANE} .svg-layer path")

    def viewport_box(self) -> Box:
        """Where the viewport lies on the page."""
        return self._boxes(_PANE)[0]

    def _boxes(self, selector: str) -> list[Box]:
        boxes: list[list[float]] = self._page.eval_on_selector_all(
            selector,
            "all => all.map(e => {const b = e.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]})",
        )
        return [(left, top, right, bottom) for left, top, right, bottom in boxes]

    def next_group(self) -> None:
        """The arrow that leads from one measurement group to the next."""
        self._page.locator(_ARROWS).nth(1).click()

    def previous_group(self) -> None:
        """The arrow that leads back."""
        self._page.locator(_ARROWS).nth(0).click()

    def scroll(self, frames: int = 1) -> None:
        """Turn the mouse wheel over the picture, one frame at a time."""
        left, top, right, bottom = self.viewport_box()
        self._page.mouse.move((left + right) / 2, (top + bottom) / 2)
        for _ in range(frames):
            self._page.mouse.wheel(0, 100)
            self._page.wait_for_timeout(500)

    def picture(self) -> Pixels:
        """What is drawn in the viewport now, whatever lies over it: RGB [rows, columns, 3]."""
        return _pixels(self._page.locator(_PANE).screenshot())

    def canvas(self) -> Pixels:
        """What is drawn on the viewport's canvas, without what lies over it: RGB, as large as on the page."""
        canvas = self._page.locator(f"{_PANE} canvas").first
        drawn: str = canvas.evaluate("canvas => canvas.toDataURL('image/png')")
        return _pixels(base64.b64decode(drawn.partition(",")[2]))

    def keep(self, name: str) -> None:
        """Keep a screenshot of the whole page."""
        self._page.screenshot(path=self._shots / f"{name}.png")


def _pixels(png: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


@contextmanager
def browser(shots: Path) -> Iterator[Ohif]:
    """A browser for OHIF alone, without the tour that it gives to newcomers."""
    shots.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--no-first-run", *_ALONE, *_SOFTWARE_WEBGL],  # root has no sandbox
        )
        context = chromium.new_context(viewport=_SIZE)  # type: ignore[arg-type]
        context.set_default_timeout(PATIENCE * 1000)
        context.add_init_script(_NO_TOUR)
        yield Ohif(context.new_page(), shots)
        chromium.close()
