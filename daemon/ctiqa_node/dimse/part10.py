"""What stands before a dataset in a file: preamble, prefix and File Meta Information (PS3.10 7.1).

Written by hand, since every instance needs it at once: pydicom's general way takes as long as all else that reception
does to a slice in Python. A test holds what comes out against pydicom.
"""

from __future__ import annotations

import struct

_PREAMBLE = b"\0" * 128 + b"DICM"
_SHORT, _LONG = struct.Struct("<HH2sH"), struct.Struct("<HH2sxxI")


def part10_header(
    sop_class_uid: str,
    sop_instance_uid: str,
    transfer_syntax_uid: str,
    implementation_class_uid: str,
    implementation_version: str,
) -> bytes:
    """The bytes before a dataset that is encoded in this transfer syntax. The UIDs are as the peer wrote them."""
    meta = b"".join(
        (
            _LONG.pack(2, 0x0001, b"OB", 2) + b"\0\1",
            _element(0x0002, b"UI", sop_class_uid, b"\0"),
            _element(0x0003, b"UI", sop_instance_uid, b"\0"),
            _element(0x0010, b"UI", transfer_syntax_uid, b"\0"),
            _element(0x0012, b"UI", implementation_class_uid, b"\0"),
            _element(0x0013, b"SH", implementation_version, b" "),
        )
    )
    return _PREAMBLE + _SHORT.pack(2, 0x0000, b"UL", 4) + struct.pack("<I", len(meta)) + meta


def _element(element: int, vr: bytes, text: str, padding: bytes) -> bytes:
    value = text.encode("ascii", "replace")
    if len(value) % 2:
        value += padding
    return _SHORT.pack(2, element, vr, len(value)) + value
