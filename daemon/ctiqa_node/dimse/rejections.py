"""What was turned away: counted for `status`, and told once per address and interval: nobody can flood the log."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ctiqa_node.db.columns import now

INTERVAL_SECONDS = 60.0
"""One line in the log, and one row in the database, for each address and reason in this time."""
MOST_ADDRESSES = 256
"""So many are remembered, those seen last; whoever has a network of addresses fills no memory."""
SHOWN = 10


@dataclass(slots=True)
class _Seen:
    count: int = 0
    silent: int = 0
    """Since the last time it was told."""
    told_at: float | None = None
    calling: str = ""
    at: datetime | None = None


class Rejections:
    """Counts by address and reason, since the node started. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: OrderedDict[tuple[str, str], _Seen] = OrderedDict()
        self._total = 0
        self._lock = threading.Lock()

    def note(self, address: str, calling: str, reason: str) -> int | None:
        """Count one. Tells how many were kept silent since the last time when it is time to say so, else None."""
        with self._lock:
            self._total += 1
            seen = self._seen.setdefault((address, reason), _Seen())
            self._seen.move_to_end((address, reason))
            if len(self._seen) > MOST_ADDRESSES:
                self._seen.popitem(last=False)
            seen.count, seen.calling, seen.at = seen.count + 1, calling, now()
            moment = self._clock()
            if seen.told_at is not None and moment - seen.told_at < INTERVAL_SECONDS:
                seen.silent += 1
                return None
            silent, seen.silent, seen.told_at = seen.silent, 0, moment
            return silent

    def summary(self) -> dict[str, Any]:
        """`total`, and `latest`: the last addresses with reason, calling AE title, count and time, as JSON values."""
        with self._lock:
            latest = list(reversed(self._seen.items()))[:SHOWN]
            return {
                "total": self._total,
                "latest": [
                    {
                        "address": address,
                        "reason": reason,
                        "calling_ae_title": seen.calling,
                        "count": seen.count,
                        "last_at": seen.at.isoformat() if seen.at else None,
                    }
                    for (address, reason), seen in latest
                ],
            }
