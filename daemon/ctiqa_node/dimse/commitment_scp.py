"""The handlers of Storage Commitment on the port that we listen on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from pynetdicom import evt
from pynetdicom.dimse_primitives import N_ACTION
from pynetdicom.events import EventHandlerType
from pynetdicom.presentation import PresentationContext

from ctiqa_node.commitment.promises import Promises
from ctiqa_node.commitment.reporting import Reporter
from ctiqa_node.dimse import commitment
from ctiqa_node.dimse.associations import caller_of
from ctiqa_node.errors import Rejected, RetryLater
from ctiqa_node.logs import get_logger

log = get_logger(__name__)

# PS3.7 C.5
SUCCESS = 0x0000
NO_SUCH_INSTANCE = 0x0112
INVALID_ARGUMENT = 0x0115
NO_SUCH_ACTION = 0x0123
NOT_AUTHORISED = 0x0124
RESOURCE_LIMITATION = 0x0213


@dataclass(frozen=True, slots=True)
class CommitmentScp:
    """Which parts there are: `promises` takes what destinations report to us, `reporter` what senders ask of us."""

    promises: Promises | None = None
    reporter: Reporter | None = None

    def contexts(self) -> list[PresentationContext]:
        """What to accept; nothing, where there is no part of the service."""
        return [commitment.context()] if self.promises or self.reporter else []

    def handlers(self) -> list[EventHandlerType]:
        """What to bind to the server."""
        return [(evt.EVT_N_ACTION, self._asked), (evt.EVT_N_EVENT_REPORT, self._reported)]

    def _asked(self, event: evt.Event) -> tuple[int, None]:
        status = self._take(event)
        caller = caller_of(event.assoc)
        log.info("commitment requested", calling=caller.calling, address=caller.address, status=f"0x{status:04X}")
        return status, None

    def _take(self, event: evt.Event) -> int:
        if self.reporter is None:
            return NOT_AUTHORISED
        if cast(N_ACTION, event.request).RequestedSOPInstanceUID != commitment.WELL_KNOWN_INSTANCE:
            return NO_SUCH_INSTANCE
        if event.action_type != commitment.REQUEST_COMMITMENT:
            return NO_SUCH_ACTION
        try:
            request = commitment.read_request(event.action_information)
            self.reporter.take(caller_of(event.assoc), request, event.assoc)
        except RetryLater as error:
            log.error("commitment request not taken", reason=str(error))
            return RESOURCE_LIMITATION
        except (Rejected, *commitment.UNREADABLE) as error:
            log.debug("commitment request cannot be read", error=str(error))
            return INVALID_ARGUMENT
        return SUCCESS

    def _reported(self, event: evt.Event) -> tuple[int, None]:
        if self.promises is None:
            return NOT_AUTHORISED, None
        return commitment.answer_report(event, self.promises.take)
