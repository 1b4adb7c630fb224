"""How codes of our own are made from names (scheme 99CTIQA; DICOM PS3.16 8.2 on private coding schemes)."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pydicom.sr.coding import Code

PRIVATE_SCHEME = "99CTIQA"
PRIVATE_SCHEME_NAME = "ctiqa-node: CT image quality"
_LONGEST_CODE_VALUE = 16  # Code Value is a short string (SH)
_LONGEST_MEANING = 64  # Code Meaning is a long string (LO)


class Coding(NamedTuple):
    """What a code says (PS3.3 8.8), without pydicom, whose tables of codes take a third of a second to import."""

    value: str
    scheme_designator: str
    meaning: str

    @property
    def code(self) -> Code:
        """The same for pydicom."""
        from pydicom.sr.coding import Code

        return Code(*self)


def private_code(text: str, meaning: str | None = None) -> Code:
    """`private_coding`, for pydicom."""
    return private_coding(text, meaning).code


def private_coding(text: str, meaning: str | None = None) -> Coding:
    """Make a code of our own scheme from any text: the same text always gives the same code.

    Capitals, digits and hyphens, at most 16 characters; a longer text keeps its beginning and four hexadecimal digits
    of its hash.
    """
    value = re.sub(r"[^A-Z0-9]+", "-", text.upper()).strip("-")
    if not value or len(value) > _LONGEST_CODE_VALUE:
        digest = hashlib.sha256(text.encode()).hexdigest()[:4].upper()
        value = f"{value[: _LONGEST_CODE_VALUE - 5].strip('-')}-{digest}".strip("-")
    return Coding(value, PRIVATE_SCHEME, shortened(meaning or words(text), _LONGEST_MEANING))


def words(name: str) -> str:
    """Turn a name of a program ("noise_level") into words ("Noise level")."""
    text = name.replace("_", " ").replace("-", " ").strip()
    return text[:1].upper() + text[1:] or "Unnamed"


def shortened(text: str, longest: int) -> str:
    """Cut a text to at most `longest` characters, with three dots where something is missing."""
    return text if len(text) <= longest else text[: longest - 3].rstrip() + "..."
