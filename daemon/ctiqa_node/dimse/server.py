"""The listening side: connections to associations. Nothing that a peer does, or leaves undone, holds up another.

Each connection has a thread of its own from the moment it is accepted: it waits there for the first byte, and does the
TLS handshake. Only who has sent a byte costs an association's threads.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.transport import AssociationServer, AssociationSocket, RequestHandler

from ctiqa_node.config import NodeSection
from ctiqa_node.dimse.gathering import BoundedProvider, TooMuch
from ctiqa_node.dimse.tls import HANDSHAKE_RECORD, handshake_trouble
from ctiqa_node.logs import get_logger

log = get_logger(__name__)

ACCEPT_PAUSE_SECONDS = 0.1
MOST_PDU_BYTES = 1 << 20
"""A PDU is taken up to this length, or up to what we asked for where that is more."""
MOST_WAITING = 4
"""All addresses together may keep so many times as many connections waiting as one address may."""

TurnedAway = Callable[[str, str], None]
"""Address, and a sentence: somebody was turned away before there was an association."""


@dataclass(eq=False, slots=True)
class Ticket:
    """A connection that has not asked for an association yet."""

    address: str
    connection: socket.socket
    association: Association | None = None
    served: bool = False

    def waits(self) -> bool:
        """Whether it still holds a place."""
        return not self.served and (self.association is None or self.association.is_alive())


class WaitingRoom:
    """Bounds the connections that have not asked for an association, for each address and in all. Thread-safe."""

    def __init__(self, for_one_address: int) -> None:
        self._for_one = for_one_address
        self._tickets: list[Ticket] = []
        self._lock = threading.Lock()

    def enter(self, address: str, connection: socket.socket) -> Ticket | None:
        """A place, or None when there is none left."""
        with self._lock:
            self._tickets = [ticket for ticket in self._tickets if ticket.waits()]
            same = sum(ticket.address == address for ticket in self._tickets)
            if same >= self._for_one or len(self._tickets) >= MOST_WAITING * self._for_one:
                return None
            ticket = Ticket(address, connection)
            self._tickets.append(ticket)
            return ticket

    def __len__(self) -> int:
        with self._lock:
            return sum(ticket.waits() for ticket in self._tickets)

    def close(self) -> None:
        """End what waits."""
        with self._lock:
            for ticket in self._tickets:
                if ticket.waits() and ticket.association is None:
                    _close(ticket.connection)


class PatientSocket(AssociationSocket):
    """Reads a PDU within a time for all of it, however slowly its bytes drip, and none that is absurdly long."""

    def __init__(self, association: Association, ticket: Ticket, settings: NodeSection) -> None:
        super().__init__(association, client_socket=ticket.connection)
        self._ticket = ticket
        self._seconds = settings.network_timeout_seconds
        self._most = max(settings.max_pdu_bytes, MOST_PDU_BYTES) + 6
        self._request_by: float | None = time.monotonic() + settings.acse_timeout_seconds
        ticket.connection.settimeout(self._seconds)

    def requested(self) -> None:
        """The association was asked for: it waits no longer, and from now on each PDU has its own time."""
        self._request_by = None
        self._ticket.served = True

    def recv(self, nr_bytes: int) -> bytearray:
        """Read so many bytes, or fewer at the end of the connection.

        Raises:
            OSError: they are too many, or did not come in time; pynetdicom then ends the connection.
        """
        connection = self.socket
        if connection is None:
            raise ConnectionAbortedError("the connection is closed")
        if nr_bytes > self._most:
            raise OSError(f"a PDU of {nr_bytes} bytes is longer than the {self._most} that are taken")
        until = time.monotonic() + self._seconds if self._request_by is None else self._request_by
        received, count = bytearray(nr_bytes), 0
        try:
            with memoryview(received) as rest:
                while count < nr_bytes:
                    connection.settimeout(max(until - time.monotonic(), 0.001))
                    more = connection.recv_into(rest[count:])
                    if not more:
                        break
                    count += more
        finally:
            connection.settimeout(self._seconds)
        del received[count:]
        return received


class _Handler(RequestHandler):
    """Makes an association of a connection whose first byte is there."""

    server: NodeServer

    def handle(self) -> None:
        """Start the association on a socket of ours."""
        association = self._create_association()
        ticket = self.server.tickets[self.request]
        most = self.server.settings.max_dataset_mib << 20
        association.dimse = BoundedProvider(association, most, self.server.too_much)
        association.dul.socket = PatientSocket(association, ticket, self.server.settings)
        association.dul.event_queue.get_nowait()  # its socket and ours told of the connection; it may be told of once
        ticket.association = association
        self._tell_when_it_ends(association)
        evt.trigger(association, evt.EVT_CONN_OPEN, {"address": self.client_address})
        association.start()

    def _tell_when_it_ends(self, association: Association) -> None:
        """However it ends: on some violations of the protocol pynetdicom lets a thread die, and triggers no event."""
        run, run_transport = association.run, association.dul.run
        address = str(self.client_address[0])

        def run_and_tell() -> None:
            try:
                run()
            finally:
                self.server.ended(association)

        def run_transport_and_tell() -> None:
            try:
                run_transport()
            except Exception as error:  # noqa: BLE001  # whatever a command is decoded to; a traceback each is a flood
                log.debug("protocol broken", address=address, error=f"{type(error).__name__}: {error}")
                self.server.turned_away(address, "broke the protocol in an association")

        cast(Any, association).run = run_and_tell
        cast(Any, association.dul).run = run_transport_and_tell


class NodeServer(AssociationServer):
    """Accepts connections; `AE.make_server` makes it."""

    request_queue_size = 128
    """Connections that the system holds until they are accepted; socketserver's 5 overflow when many come at once."""

    def __init__(
        self,
        *args: Any,
        settings: NodeSection,
        tls: ssl.SSLContext | None,
        turned_away: TurnedAway,
        too_much: TooMuch,
        ended: Callable[[Association], None],
        **kwargs: Any,
    ) -> None:
        self.settings = settings
        self.waiting = WaitingRoom(max(32, settings.max_associations))
        self._tls = tls
        self.turned_away = turned_away
        self.too_much = too_much
        self.ended = ended
        """Called in an association's thread as its last act."""
        self.tickets: dict[socket.socket, Ticket] = {}
        """Of the connections that are about to become associations."""
        super().__init__(*args, **{**kwargs, "request_handler": _Handler})

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; its TLS handshake is for its own thread."""
        assert self.socket is not None
        try:
            return self.socket.accept()
        except OSError:
            time.sleep(ACCEPT_PAUSE_SECONDS)  # without file descriptors it would fail again at once, and for ever
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a new connection its thread, if there is room for one more that has said nothing yet."""
        ticket = self.waiting.enter(str(client_address[0]), request)
        if ticket is None:
            self.turned_away(str(client_address[0]), "too many connections wait without asking for an association")
            _close(request)
            return
        name = f"connection-{client_address[0]}"
        threading.Thread(target=self._serve, args=(ticket, client_address), name=name, daemon=True).start()

    def _serve(self, ticket: Ticket, client_address: Any) -> None:
        try:
            secured = self._secured(ticket)
            if secured is None:
                _close(ticket.connection)
                return
            self.tickets[secured] = ticket
            _Handler(secured, client_address, self)
        except Exception:  # the top of the connection's thread: nobody else would close it
            log.exception("connection failed", address=ticket.address)
            _close(ticket.connection)
        finally:
            self.tickets.pop(ticket.connection, None)
            if ticket.association is None:
                ticket.served = True

    def _secured(self, ticket: Ticket) -> socket.socket | None:
        """The connection as DICOM is to be spoken over it; None when there is nobody, or the wrong protocol."""
        connection, address = ticket.connection, ticket.address
        connection.settimeout(self.settings.acse_timeout_seconds)
        try:
            first = connection.recv(1, socket.MSG_PEEK)
        except OSError:  # silent for too long, or gone
            return None
        if not first:  # connected and closed: a health check
            return None
        speaks_tls = first[0] == HANDSHAKE_RECORD
        if self._tls is None:
            if speaks_tls:
                self.turned_away(address, "speaks TLS, and this port has none (tls.certificate)")
            return None if speaks_tls else connection
        if not speaks_tls:
            self.turned_away(address, "speaks no TLS, and this port takes nothing else (tls.certificate)")
            return None
        try:
            ticket.connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            ticket.connection.do_handshake()
        except OSError as error:
            self.turned_away(address, handshake_trouble(error, we_are_server=True))
            return None
        return ticket.connection

    def shutdown(self) -> None:
        """Take no more connections, and end those that have not asked for an association."""
        super(AssociationServer, self).shutdown()  # pynetdicom's own would look for itself among the AE's servers
        self.server_close()
        self.waiting.close()


def as_requested(association: Association) -> None:
    """Its request has come: it waits no longer, and gets the time that an association has."""
    link = cast(PatientSocket, association.dul.socket)
    link.requested()


def _close(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    finally:
        connection.close()
