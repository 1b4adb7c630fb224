"""KADID-10k's lossy compressions: photographs as float32 RGB 0–1 [y, x, 3] in and out."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from ctiqa_models.api import FloatArray


def jpeg2000(photo: FloatArray, ratio: float, _rng: np.random.Generator) -> FloatArray:
    """JPEG 2000 at a compression of `ratio` to 1."""
    return _through(photo, "JPEG2000", quality_mode="rates", quality_layers=[ratio], irreversible=True)


def jpeg(photo: FloatArray, quality: float, _rng: np.random.Generator) -> FloatArray:
    """JPEG at libjpeg's `quality` 1–100, chroma halved."""
    return _through(photo, "JPEG", quality=int(quality))


def _through(photo: FloatArray, form: str, **options: Any) -> FloatArray:
    with BytesIO() as file:
        Image.fromarray(np.rint(photo * 255.0).astype(np.uint8)).save(file, format=form, **options)
        file.seek(0)
        with Image.open(file) as image:
            return np.asarray(image.convert("RGB"), dtype=np.float32) / 255.0
