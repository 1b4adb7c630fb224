"""The audit: who sent, what was deleted, which commands were run by whom. Rows are only added; SQLite forbids the rest.

Nothing in it tells who a patient is. Studies and series appear as the SHA-256 of their UID, so that whoever has the UID
can look it up, and nobody else learns one, even after everything of a patient was purged.
"""

from __future__ import annotations

import hashlib
import os
import pwd
from collections.abc import Mapping

from sqlalchemy.orm import Session

from ctiqa_node.db.books import AuditEntry, AuditEvent
from ctiqa_node.db.columns import now

NODE = "node"


def note(
    session: Session,
    event: AuditEvent,
    who: str,
    detail: Mapping[str, str | int],
    *,
    address: str = "",
    uid: str | None = None,
) -> None:
    """Add a line within the caller's transaction: what was done and that it was done are kept together, or neither."""
    subject = None if uid is None else digest_of(uid)
    session.add(AuditEntry(at=now(), event=event.value, who=who, address=address, subject=subject, detail=dict(detail)))


def digest_of(uid: str) -> str:
    """What stands in the audit for a UID: `printf %s UID | sha256sum`."""
    return hashlib.sha256(uid.encode()).hexdigest()


def user() -> str:
    """Who runs this process: the user, and whoever became it by sudo."""
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        name = f"uid {os.geteuid()}"
    behind = os.environ.get("SUDO_USER")
    return f"{name}, by sudo from {behind}" if behind else name
