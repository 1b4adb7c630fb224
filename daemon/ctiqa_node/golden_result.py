"""What the last look at the golden series came to, for `status` and whoever sends."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import Session

from ctiqa_node.db.tables import Heartbeat

PROCESS = "golden"
"""The row of `heartbeats` that keeps the last result."""
SHOWN_DRIFTS = 5


class GoldenResult(BaseModel):
    """What the comparison came to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ok: bool
    device: str
    compared: tuple[str, ...]
    not_compared: tuple[str, ...]
    """Models with other weights than the shipped values were made with: the site's own."""
    drifts: tuple[str, ...]
    at: datetime

    @property
    def sentence(self) -> str:
        """The same in words."""
        if not self.ok:
            more = f"; and {len(self.drifts) - SHOWN_DRIFTS} more" if len(self.drifts) > SHOWN_DRIFTS else ""
            return (
                f"the golden series gives other values on {self.device}: {'; '.join(self.drifts[:SHOWN_DRIFTS])}{more}"
            )
        left_out = f"; not compared, for their weights are the site's own: {', '.join(self.not_compared)}"
        return (
            f"the golden series gives the shipped values on {self.device} ({', '.join(self.compared) or 'no model'})"
            + (left_out if self.not_compared else "")
        )


def last_result(session: Session) -> GoldenResult | None:
    """The last result that was kept; None when there was no check yet."""
    row = session.get(Heartbeat, PROCESS)
    return None if row is None else GoldenResult.model_validate(row.detail)
