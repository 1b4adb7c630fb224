"""Value types that every room shares, in the standard's words."""

from __future__ import annotations

import re
from dataclasses import dataclass

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")


def is_uid(value: str) -> bool:
    """Whether a text is a UID by its characters and length (PS3.5 9.1).

    A leading zero in a component is let through: real devices send it, and nothing here depends on it.
    """
    return len(value) <= 64 and _UID.fullmatch(value) is not None


@dataclass(frozen=True, slots=True)
class ApplicationEntity:
    """An Application Entity that can be called."""

    ae_title: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.ae_title}@{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ReceivedInstance:
    """One SOP Instance as it came in a C-STORE request.

    `part10` is the whole file to keep (preamble, file meta information, dataset as encoded by the peer), and
    `dataset_offset` is where the peer's own bytes begin. The UIDs are those of the command (PS3.7 9.1.1.1).
    """

    part10: bytes
    dataset_offset: int
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    association_id: int | None
