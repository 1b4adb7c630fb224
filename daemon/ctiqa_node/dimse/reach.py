"""Why an association did not come about: a connection of its own finds out, and says it in words."""

from __future__ import annotations

import socket
import ssl

from ctiqa_node.dicom import ApplicationEntity
from ctiqa_node.dimse.tls import ClientTls, handshake_trouble

NO_ASSOCIATION = "but no association: it ended it, or did not answer in time"
ALERT_SECONDS = 1.0
"""TLS 1.3 tells a client only after the handshake that its certificate is missing or not accepted."""


def trouble_reaching(peer: ApplicationEntity, tls: ClientTls | None, seconds: float) -> str:
    """A sentence about a peer with which there was no association, and no rejection either."""
    try:
        connection = socket.create_connection((peer.host, peer.port), seconds)
    except OSError as error:
        return f"{peer} cannot be reached: {_words(error, seconds)}"
    with connection:
        if tls is not None:
            trouble = secured_trouble(connection, tls)
            return f"{peer} {trouble or f'takes the TLS connection, {NO_ASSOCIATION}'}"
        if speaks_tls(connection):
            return f"{peer} speaks TLS on this port, and is called without (destinations[].tls)"
    return f"{peer} takes the connection, {NO_ASSOCIATION}"


def secured_trouble(connection: socket.socket, tls: ClientTls) -> str | None:
    """Do the TLS handshake as an association would; None when it is well, else what is wrong, in words."""
    try:
        with tls.context.wrap_socket(connection, server_hostname=tls.server_name) as secured:
            secured.settimeout(ALERT_SECONDS)
            secured.recv(1)
    except TimeoutError as error:
        return None if "handshake" not in str(error) else handshake_trouble(error, we_are_server=False)
    except OSError as error:
        return handshake_trouble(error, we_are_server=False)
    return None


def speaks_tls(connection: socket.socket) -> bool:
    """Whether the other side answers a TLS handshake, be it with a complaint; the connection is used up."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # only whether it is TLS is asked; nothing is sent over it
    try:
        context.wrap_socket(connection).close()
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")
    except OSError:
        return False
    return True


def _words(error: OSError, seconds: float) -> str:
    if isinstance(error, socket.gaierror):
        return f"its name is not known ({error.strerror})"
    if isinstance(error, TimeoutError):
        return f"no connection within {seconds:g} s"
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there (connection refused)"
    return str(error.strerror or error)
