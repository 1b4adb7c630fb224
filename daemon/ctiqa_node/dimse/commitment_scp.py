"""The handlers of Storage Commitment on the port that we listen on."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.events import EventHandlerType
from pynetdicom.presentation import PresentationContext

from ctiqa_node.commitment.promises import Promises
from ctiqa_node.dimse import commitment

NOT_AUTHORISED = 0x0124


@dataclass(frozen=True, slots=True)
class CommitmentScp:
    """Which parts of the service there are: `promises` takes what our destinations report."""

    promises: Promises | None = None

    def contexts(self) -> list[PresentationContext]:
        """What to accept; nothing, where there is no part of the service."""
        return [] if self.promises is None else [commitment.context()]

    def handlers(self) -> list[EventHandlerType]:
        """What to bind to the server."""
        return [(evt.EVT_N_ACTION, self._asked), (evt.EVT_N_EVENT_REPORT, self._reported)]

    def _asked(self, event: evt.Event) -> tuple[int | Dataset, None]:
        del event
        return NOT_AUTHORISED, None

    def _reported(self, event: evt.Event) -> tuple[int, None]:
        if self.promises is None:
            return NOT_AUTHORISED, None
        return commitment.answer_report(event, self.promises.take)
