"""What OHIF shows of each result object, beside what `results --json` and the objects say."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from delivered import Delivered
from ohif_page import PATIENCE, Box, Ohif
from pydicom.dataset import Dataset
from seeing import Found, Pixels, alike, find

from ctiqa_node.report import codes
from support.waiting import eventually

pytestmark = pytest.mark.timeout(1800)

_SHOWN_OF_A_GROUP = 5
"""OHIF writes the first five numbers of a measurement group, with two digits."""


def _lines(values: dict[str, float]) -> list[str]:
    """How OHIF writes values, up to the unit."""
    return [f"{codes.quantity(name).code.meaning}: {value:.2f} " for name, value in values.items()]


def _inside(box: Box, viewport: Box) -> bool:
    return viewport[0] <= box[0] and viewport[1] <= box[1] and box[2] <= viewport[2] and box[3] <= viewport[3]


def _annotated(ohif: Ohif, wanted: list[str]) -> list[str]:
    """The lines over the picture, once those that are wanted are there."""

    def shown() -> list[str]:
        lines = ohif.annotations()
        return lines if all(any(line.startswith(start) for line in lines) for start in wanted) else []

    try:
        return eventually(shown, PATIENCE / 2)
    except AssertionError:
        pytest.fail(f"OHIF shows {ohif.annotations()}, not {wanted}; errors in the page: {ohif.errors}")


def test_every_object_is_listed_under_its_name(ohif: Ohif) -> None:
    listed = {number: ohif.series_listed(number) for number in range(9901, 9908)}
    assert all("CT image quality" in words for words in listed.values()), listed
    ohif.keep("ohif-study")


def test_the_report_shows_slice_outline_and_values_from_group_to_group(ohif: Ohif, delivered: Delivered) -> None:
    ohif.open_series(9901)
    _make_drawn(ohif)
    for number, notable in enumerate(delivered.results["notable_slices"]):
        if number:
            ohif.next_group()
        z = notable["slice_index"]
        wanted = _lines(delivered.slice_values(z))[:_SHOWN_OF_A_GROUP]
        assert len(wanted) == _SHOWN_OF_A_GROUP
        lines = _annotated(ohif, wanted)
        assert len(lines) == len(wanted), "only this group's values stand on the slice"
        eventually(lambda z=z: ohif.slice_shown() == z + 1, PATIENCE / 2)
        ohif.keep(f"ohif-report-{number + 1}-{notable['role']}-slice")
        assert all(_inside(box, ohif.viewport_box()) for box in ohif.annotation_boxes())
        _check_outline(ohif, delivered.object("sr"), number)
    ohif.next_group()
    first = [model["measurements"][0] for model in delivered.results["models"] if model["measurements"]]
    wanted = _lines({m["name"]: m["value"] for m in first})[:_SHOWN_OF_A_GROUP]
    assert len(_annotated(ohif, wanted)) == len(wanted), "only the series' values stand on the slice"
    ohif.keep("ohif-report-6-series")
    assert all(_inside(box, ohif.viewport_box()) for box in ohif.annotation_boxes())


def _make_drawn(ohif: Ohif) -> None:
    """Now and then OHIF draws the first slice before it knows what to write on it; the arrows make it draw again."""
    eventually(ohif.slice_shown, PATIENCE)
    try:
        eventually(ohif.annotations, 15)
    except AssertionError:
        ohif.next_group()
        eventually(ohif.annotations, PATIENCE / 2)
        ohif.previous_group()


def _check_outline(ohif: Ohif, report: Dataset, number: int) -> None:
    """The outline on the page has the proportions of that in the report."""
    (measured,) = [i for i in report.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "126010"]
    (region,) = [i for i in measured.ContentSequence[number].ContentSequence if i.ValueType == "SCOORD"]
    columns, rows = np.reshape(region.GraphicData, (-1, 2)).T
    left, top, right, bottom = max(ohif.outline_boxes(), key=lambda box: box[2] - box[0])
    assert (right - left) / (bottom - top) == pytest.approx(np.ptp(columns) / np.ptp(rows), rel=0.02)
    page_left, page_top, page_right, page_bottom = ohif.viewport_box()
    scale = (bottom - top) / np.ptp(rows)  # of the page's pixels to the slice's
    middle = (page_left + page_right) / 2 + scale * ((columns.min() + columns.max()) / 2 - 448 / 2)
    assert (left + right) / 2 == pytest.approx(middle, abs=4)
    assert page_top < top < bottom < page_bottom


def _shown(ohif: Ohif, sent: Pixels, least: float) -> Found:
    """Where a picture that was sent is drawn, once it is."""

    def seen() -> Found | None:
        found = find(sent, ohif.picture())
        return found if found.correlation > least else None

    return eventually(seen, PATIENCE / 2)


def test_the_summary_page_is_drawn_as_it_was_sent(ohif: Ohif, delivered: Delivered) -> None:
    ohif.open_series(9902)
    _shown(ohif, delivered.object("summary").pixel_array, 0.9)  # what OHIF lays over it is not in it
    ohif.keep("ohif-summary")


def test_the_quality_maps_are_drawn_as_they_were_sent_and_scroll(ohif: Ohif, delivered: Delivered) -> None:
    frames = delivered.object("quality_maps").pixel_array
    assert len(frames) > 1
    ohif.open_series(9903)
    for number, frame in enumerate(frames):
        if number:
            ohif.scroll()
        _shown(ohif, frame, 0.95)
        drawn = ohif.picture()
        likeness = [find(other, drawn).correlation for other in frames]
        assert int(np.argmax(likeness)) == number
        ohif.keep(f"ohif-maps-{number + 1}")


def _map_of_slice(parametric: Dataset, source_uid: str) -> np.ndarray[Any, Any]:
    for frame, values in zip(parametric.PerFrameFunctionalGroupsSequence, parametric.pixel_array, strict=True):
        if frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID == source_uid:
            return np.asarray(values, dtype=float)
    raise AssertionError(f"no frame for {source_uid}")


def test_the_parametric_map_lies_in_colour_over_the_slice(ohif: Ohif, delivered: Delivered) -> None:
    parametric = delivered.object("parametric_map")
    ohif.open_series(9904)

    def coloured() -> bool:
        picture = ohif.canvas().astype(float)
        return float(np.ptp(picture, axis=2).mean()) > 5

    eventually(coloured, PATIENCE / 2)
    shown = eventually(ohif.slice_shown, PATIENCE / 2) - 1
    (uid,) = {
        m["sop_instance_uid"]
        for model in delivered.results["models"]
        for m in model["slices"]
        if m["slice_index"] == shown
    }
    quality = _map_of_slice(parametric, uid)
    canvas = ohif.canvas().astype(float)
    side = canvas.shape[0]
    left = (canvas.shape[1] - side) // 2
    picture = cv2.resize(canvas[:, left : left + side], quality.shape[::-1], interpolation=cv2.INTER_AREA)
    greenness = picture[..., 1] - picture[..., 0]  # of OHIF's rainbow, in which the best is red
    ohif.keep("ohif-parametric-map")
    assert alike(greenness, 1 - quality) > 0.7
    assert alike(greenness, 1 - quality[:, ::-1]) < alike(greenness, 1 - quality) - 0.02


def test_the_pdf_shows_the_summary_page(ohif: Ohif, delivered: Delivered) -> None:
    ohif.open_series(9906)
    summary = delivered.object("summary").pixel_array

    def seen() -> bool:
        return find(summary[:600], ohif.picture(), (0.3, 0.7), 60).correlation > 0.8

    eventually(seen, PATIENCE / 2)
    ohif.keep("ohif-pdf")


def test_the_text_report_can_be_read_with_every_value_of_the_series(ohif: Ohif, delivered: Delivered) -> None:
    ohif.open_series(9907)
    ohif.wait_for_text("CT image quality report")
    ohif.keep("ohif-text-report")
    text = ohif.text()
    for model in delivered.results["models"]:
        for m in model["measurements"]:
            value = codes.value_text(m["name"], m["value"], m["unit"])
            assert f"{codes.quantity(m['name']).title} {value}" in text
    assert "Research use only. Not for diagnosis." in text


def test_no_script_of_the_viewer_failed(ohif_in_browser: tuple[Ohif, str]) -> None:
    assert ohif_in_browser[0].errors == []
