"""What a folder of data is: recognised by what lies in it, so that nobody has to say."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from itertools import islice
from pathlib import Path

import numpy as np

from ctiqa_models.data import kadid, ldctiqac
from ctiqa_models.data.photos import SUFFIXES

_LOOK_AT = 200
_DICOM_MAGIC = b"DICM"  # after a preamble of 128 bytes, DICOM PS3.10 7.1


class Kind(StrEnum):
    """The kinds of data."""

    KADID = "KADID-10k"
    LDCTIQAC = "LDCTIQAC 2023"
    SLICES = "training slices"
    PAIRS = "pairs at full and quarter dose"
    DICOM = "DICOM files"
    PHOTOS = "photographs"


def kind_of(folder: Path) -> Kind:
    """The kind of a folder.

    Raises ValueError, with what would be recognised, when it is none of them.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder.")
    if (folder / kadid.SCORES).is_file() and (folder / kadid.IMAGES).is_dir():
        return Kind.KADID
    if (folder / ldctiqac.SCORES).is_file() and (folder / ldctiqac.IMAGES).is_dir():
        return Kind.LDCTIQAC
    for candidate in (_arrays(folder), _files(folder)):
        if candidate is not None:
            return candidate
    raise ValueError(
        f"{folder} is of no kind that is known: KADID-10k (images/, dmos.csv), LDCTIQAC 2023 (image/, train.json), "
        "training slices (.npz with hu, spacing_mm, patient), pairs (.npz with full, quarter, spacing), DICOM files, "
        "or photographs."
    )


def _arrays(folder: Path) -> Kind | None:
    first = min(folder.glob("*.npz"), default=None)
    if first is None:
        return None
    try:
        with np.load(first) as opened:
            names = set(opened.files)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{first} cannot be read ({error}); take it out of the folder.") from error
    if "hu" in names:
        return Kind.SLICES
    if {"full", "quarter"} <= names:
        return Kind.PAIRS
    raise ValueError(f"{first} holds neither hu (training slices) nor full and quarter (pairs).")


def _files(folder: Path) -> Kind | None:
    """By the first files, however deep they lie: DICOM if one is, for exports come with pictures beside them."""
    files: Iterator[Path] = (file for file in folder.rglob("*") if file.is_file())
    seen = list(islice(files, _LOOK_AT))
    if any(_is_dicom(file) for file in seen):
        return Kind.DICOM
    return Kind.PHOTOS if any(file.suffix.lower() in SUFFIXES for file in seen) else None


def _is_dicom(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(132)[128:] == _DICOM_MAGIC
