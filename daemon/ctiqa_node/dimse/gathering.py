"""DIMSE messages from their fragments, within bounds: pynetdicom gathers for as long as a peer sends (PS3.7 6.3.1)."""

from __future__ import annotations

from collections.abc import Callable

from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.pdu_primitives import P_DATA

MOST_COMMAND_BYTES = 1 << 16
"""Of a command set: the longest of PS3.7 9.3 and 10.3 has a few hundred."""
MOST_UNANSWERED = 16
"""Messages that wait for their turn. One is all that a peer may have open, as no asynchronous operations are
negotiated (PS3.7 D.3.3.3), and C-CANCEL and answers to our own requests come beside it."""

TooMuch = Callable[[Association, str], None]
"""An association, and a sentence: its peer sends more than is taken, and it is ended."""


class BoundedProvider(DIMSEServiceProvider):
    """Gathers the messages of one association, and ends it when they grow over the bounds."""

    def __init__(self, association: Association, most_dataset_bytes: int, too_much: TooMuch) -> None:
        super().__init__(association)
        self._most = most_dataset_bytes
        self._too_much = too_much
        self._command_bytes = self._dataset_bytes = 0
        self._ended = False

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take in fragments; called in the thread that reads the connection."""
        if self._ended:  # its peer is told, and what was still on its way is of no use
            return
        if self.message is None:
            self._command_bytes, self._dataset_bytes = 0, self._waiting_bytes()
        for _, fragment in primitive.presentation_data_value_list:
            if fragment[0] & 1:
                self._command_bytes += len(fragment) - 1
            else:
                self._dataset_bytes += len(fragment) - 1
        sentence = self._objection()
        if sentence is None:
            super().receive_primitive(primitive)
            return
        self._ended = True
        self.message = None  # the memory that it took
        self._too_much(self.assoc, sentence)
        self.dul.event_queue.put("Evt19")  # an A-ABORT, as pynetdicom answers to any message that cannot be used

    def _objection(self) -> str | None:
        if self._command_bytes > MOST_COMMAND_BYTES:
            return f"its command set has more than {MOST_COMMAND_BYTES} bytes"
        if self._dataset_bytes > self._most:
            return f"its dataset has more than {self._most >> 20} MiB (node.max_dataset_mib)"
        if self.msg_queue.qsize() >= MOST_UNANSWERED:
            return "it sends one request after the other without waiting for answers"
        return None

    def _waiting_bytes(self) -> int:
        """What datasets take that are complete and not yet answered; none where the peer waits for answers."""
        datasets = (getattr(message, "DataSet", None) for _, message in list(self.msg_queue.queue))
        return sum(dataset.getbuffer().nbytes for dataset in datasets if dataset is not None)
