"""Which patients train and which validate: listed in `split.yaml`, the same for every model."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import yaml

SPLIT_FILE = Path(__file__).with_name("split.yaml")


def is_held_out(patient: str) -> bool:
    """Whether this patient validates.

    Patients that the file does not name are dealt by the CRC-32 of their name, about one in five: the same patient
    falls on the same side in every data set and on every day.
    """
    training, validation = _lists()
    if patient in validation:
        return True
    if patient in training:
        return False
    return zlib.crc32(patient.encode()) % 1000 < 200


def split(patients: Iterable[str]) -> tuple[list[str], list[str]]:
    """The patients that train and those that validate, sorted, each once."""
    everyone = sorted(set(patients))
    return [one for one in everyone if not is_held_out(one)], [one for one in everyone if is_held_out(one)]


@cache
def _lists() -> tuple[frozenset[str], frozenset[str]]:
    content = yaml.safe_load(SPLIT_FILE.read_text(encoding="utf-8"))
    return frozenset(map(str, content["training"])), frozenset(map(str, content["validation"]))
