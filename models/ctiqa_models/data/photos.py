"""Folders of pristine photographs, which training distorts itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ctiqa_models.api import ByteArray

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})


def photo_files(folder: Path) -> list[Path]:
    """The images of a folder and all below it, by name; ValueError when there are none."""
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    if not files:
        raise ValueError(f"no photographs: {folder} holds no {', '.join(sorted(SUFFIXES))} file.")
    return files


def read_photo(file: Path) -> ByteArray:
    """One photograph as RGB [y, x, 3], turned as its camera says; ValueError names a file that is no image."""
    try:
        with Image.open(file) as opened:
            return np.asarray(ImageOps.exif_transpose(opened).convert("RGB"), dtype=np.uint8)
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{file} cannot be read as a photograph ({error}); take it out of the folder.") from error
