"""What Orthanc shows by itself: the preview of its explorer, and its Web viewer."""

from __future__ import annotations

import io
import urllib.request

import numpy as np
import pytest
from delivered import BUILD, Delivered
from PIL import Image
from seeing import find

pytestmark = pytest.mark.timeout(1800)


def _preview(delivered: Delivered, path: str) -> np.ndarray:
    with urllib.request.urlopen(delivered.archive.url + path, timeout=30) as answer:
        return np.asarray(Image.open(io.BytesIO(answer.read())).convert("RGB"))


def test_the_preview_of_the_summary_page_is_the_page(delivered: Delivered) -> None:
    preview = _preview(delivered, f"/instances/{delivered.archive_id('summary')}/preview")
    Image.fromarray(preview).save(BUILD / "orthanc-summary.png")
    assert np.array_equal(preview, delivered.object("summary").pixel_array)


def test_the_preview_of_each_quality_map_is_the_map(delivered: Delivered) -> None:
    for number, frame in enumerate(delivered.object("quality_maps").pixel_array):
        preview = _preview(delivered, f"/instances/{delivered.archive_id('quality_maps')}/frames/{number}/preview")
        assert find(frame, preview, (1.0, 1.0), 1).correlation > 0.999
