"""Datasets that are wrong on purpose, made of an honest one in Explicit VR Little Endian (PS3.5 7)."""

from __future__ import annotations

import random
import struct

ITEM, DELIMITER = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0"
SEQUENCE = b"\x08\x00\x40\x11SQ\x00\x00"
UNDEFINED = b"\xff\xff\xff\xff"
LONG_VRS = (b"OB", b"OW", b"OF", b"OD", b"SQ", b"UN", b"UT", b"UC", b"UR", b"OV")
SHORT_VRS = (b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"FD", b"FL", b"IS", b"LO", b"PN", b"SS", b"UI", b"UL", b"US")
LENGTHS = (0, 1, 3, 7, 0xFFFE, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFC, 0xFFFFFFFE, 0xFFFFFFFF)
CLAIMS = (0, 1, 2, 15, 255, 4096, 32767, 65535)

ROWS, COLUMNS, ALLOCATED, STORED, SAMPLES = 0x0010, 0x0011, 0x0100, 0x0101, 0x0002
TEXTS = ((0x0008, b"IS"), (0x0030, b"DS"), (0x1052, b"DS"), (0x1053, b"DS"))
"""Of group 0028: Number of Frames, Pixel Spacing, Rescale Intercept and Slope."""
NUMBERS = (
    b"",
    b"0",
    b"-1",
    b"1e308",
    b"-1e308",
    b"1e-308",
    b"NaN",
    b"inf",
    b"99999999999999999999",
    b"1\\2\\3\\4",
    b"x" * 64,
)


def nested_dataset(depth: int, with_lengths: bool = False) -> bytes:
    """Sequences within sequences, none of which ever ends, or each of which says how long it is."""
    if not with_lengths:
        return (SEQUENCE + UNDEFINED + ITEM + UNDEFINED) * depth
    # From within: each level is 20 bytes longer than what it holds.
    return b"".join(
        SEQUENCE + struct.pack("<L", 20 * level + 8) + ITEM + struct.pack("<L", 20 * level)
        for level in range(depth - 1, -1, -1)
    )


def absurd_lengths(chance: random.Random, dataset: bytes) -> bytes:
    """The dataset with elements in front of it, or in a private group after it, whose lengths cannot be."""
    elements = b"".join(_absurd(chance) for _ in range(chance.randint(1, 4)))
    return elements + dataset if chance.random() < 0.5 else dataset[: chance.randrange(len(dataset))] + elements


def _absurd(chance: random.Random) -> bytes:
    tag = struct.pack("<HH", chance.choice((0x0008, 0x0009, 0x0028, 0x7FE0)), chance.randrange(1 << 16))
    content = chance.randbytes(chance.choice((0, 1, 8, 300)))
    if chance.random() < 0.6:
        return tag + chance.choice(LONG_VRS) + b"\x00\x00" + struct.pack("<L", chance.choice(LENGTHS)) + content
    return tag + chance.choice(SHORT_VRS) + struct.pack("<H", chance.choice(LENGTHS) & 0xFFFF) + content


def false_claims(chance: random.Random, dataset: bytes) -> bytes:
    """The dataset with other rows, columns, bits, frames or numbers than its pixel data has; it can be read."""
    for element in (ROWS, COLUMNS, ALLOCATED, STORED, SAMPLES):
        if chance.random() < 0.4:
            dataset = _with_number(dataset, element, chance.choice(CLAIMS))
    for element, vr in TEXTS:
        if chance.random() < 0.4:
            dataset = _with_text(dataset, element, vr, chance.choice(NUMBERS))
    return dataset


def _with_number(dataset: bytes, element: int, value: int) -> bytes:
    head = struct.pack("<HH", 0x0028, element) + b"US\x02\x00"
    at = dataset.find(head)
    return dataset if at < 0 else dataset[: at + 8] + struct.pack("<H", value) + dataset[at + 10 :]


def _with_text(dataset: bytes, element: int, vr: bytes, value: bytes) -> bytes:
    """With another value, or with that element where it belongs if there is none."""
    value += b" " * (len(value) % 2)
    head = struct.pack("<HH", 0x0028, element) + vr
    made = head + struct.pack("<H", len(value)) + value
    at = dataset.find(head)
    if at >= 0:
        (length,) = struct.unpack_from("<H", dataset, at + 6)
        return dataset[:at] + made + dataset[at + 8 + length :]
    at = dataset.find(struct.pack("<HH", 0x0028, ROWS) + b"US")
    return dataset if at < 0 else dataset[:at] + made + dataset[at:]
