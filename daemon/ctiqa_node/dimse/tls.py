"""TLS as PS3.15 B.12 has it (BCP 195, that is RFC 8996 and RFC 9325): 1.2 or 1.3, never less, and no fallback to none.

The cipher suites of TLS 1.2 are those that RFC 9325 4.2 recommends; those of 1.3 are OpenSSL's choice of RFC 8446.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ctiqa_node.config import Config, Destination
from ctiqa_node.errors import ConfigError
from ctiqa_node.network_settings import DestinationTls, TlsSection

CIPHERS_TLS_1_2 = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
)
_VERIFY = {"off": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
HANDSHAKE_RECORD = 0x16
"""The first byte of a TLS connection (RFC 8446 5.1); that of a DICOM association is 0x01 (PS3.8 9.3.2)."""


@dataclass(frozen=True, slots=True)
class ClientTls:
    """How to call a peer over TLS."""

    context: ssl.SSLContext
    server_name: str | None
    """The name that its certificate must have, where that is checked."""


def server_context(settings: TlsSection) -> ssl.SSLContext | None:
    """What to secure incoming connections with; None: they are plain.

    Raises:
        ConfigError: a file cannot be used.
    """
    if settings.certificate is None:
        return None
    context = _base(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    _load_certificate(context, settings.certificate, settings.key, "tls")
    if settings.ca is not None:
        _load_authorities(context, settings.ca, "tls.ca")
    context.verify_mode = _VERIFY[settings.verify_clients]
    return context


def client_tls(settings: DestinationTls, host: str, where: str) -> ClientTls:
    """What to call a destination with; `where` names the setting in complaints.

    Raises:
        ConfigError: a file cannot be used.
    """
    context = _base(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = settings.check_host_name
    if settings.ca is None:
        context.load_default_certs()
    else:
        _load_authorities(context, settings.ca, f"{where}.ca")
    if settings.certificate is not None:
        _load_certificate(context, settings.certificate, settings.key, where)
    return ClientTls(context, settings.server_name or host)


def destination_tls(destination: Destination) -> ClientTls | None:
    """What to call a destination with; None: without TLS.

    Raises:
        ConfigError: a file cannot be used.
    """
    if destination.tls is None:
        return None
    return client_tls(destination.tls, destination.host, f"destinations {destination.name}: tls")


def own_node_tls(settings: TlsSection) -> ClientTls | None:
    """What to call the node of this machine with: its own certificate is what it must show, and what it is shown.

    Raises:
        ConfigError: a file cannot be used.
    """
    if settings.certificate is None:
        return None
    context = _base(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    _load_authorities(context, settings.certificate, "tls.certificate")
    _load_certificate(context, settings.certificate, settings.key, "tls")
    return ClientTls(context, None)


def require_usable(config: Config) -> None:
    """Make sure that every certificate, key and list of authorities can be used.

    Raises:
        ConfigError: one cannot.
    """
    server_context(config.tls)
    for destination in config.destinations:
        destination_tls(destination)


def handshake_trouble(error: OSError, *, we_are_server: bool) -> str:
    """Why a TLS handshake failed, in words after the name of the other side."""
    if isinstance(error, TimeoutError):
        return "did not finish the TLS handshake in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"shows a certificate that is not accepted: {error.verify_message}"
    reason = str(getattr(error, "reason", "") or "")
    for names, sentence in _REASONS:
        if any(name in reason for name in names):
            return sentence
    if isinstance(error, ssl.SSLEOFError | ConnectionError):
        side = "no TLS spoken there, or our certificate is not accepted" if not we_are_server else "ours not accepted"
        return f"ended the connection during the TLS handshake ({side})"
    return f"failed in the TLS handshake: {reason or error}"


_REASONS: Iterable[tuple[tuple[str, ...], str]] = (
    (("PEER_DID_NOT_RETURN_A_CERTIFICATE",), "shows no client certificate, and tls.verify_clients is required"),
    (("CERTIFICATE_REQUIRED",), "wants a client certificate from us (destinations[].tls.certificate and key)"),
    (("WRONG_VERSION_NUMBER", "RECORD_LAYER", "HTTP_REQUEST", "PACKET_LENGTH"), "speaks no TLS on this port"),
    (("UNSUPPORTED_PROTOCOL", "PROTOCOL_VERSION", "VERSION_TOO_LOW"), "speaks only TLS older than 1.2 (RFC 8996)"),
    (("NO_SHARED_CIPHER", "HANDSHAKE_FAILURE"), "has no cipher suite, or no certificate, that both sides accept"),
    (
        ("UNKNOWN_CA", "BAD_CERTIFICATE", "CERTIFICATE_UNKNOWN", "CERT_EXPIRED"),
        "does not accept our certificate",
    ),
)


def _base(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Level 2: no key below 112 bits of security, that is RSA of 2048 bits and more (RFC 9325 4.5).
    context.set_ciphers(":".join(CIPHERS_TLS_1_2) + ":@SECLEVEL=2")
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    return context


def _load_certificate(context: ssl.SSLContext, certificate: Path, key: Path | None, where: str) -> None:
    try:
        # Without a password OpenSSL would ask for one on the terminal.
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        raise ConfigError(
            f"{where}: {certificate} and {key or 'its key'} are no PEM certificate with its unencrypted private key "
            f"({error.reason or error})."
        ) from error
    except OSError as error:
        raise ConfigError(f"{where}: {certificate} or {key} cannot be read: {error.strerror}.") from error


def _load_authorities(context: ssl.SSLContext, path: Path, where: str) -> None:
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise ConfigError(f"{where}: {path} holds no PEM certificate ({error.reason or error}).") from error
    except OSError as error:
        raise ConfigError(f"{where}: {path} cannot be read: {error.strerror}.") from error
