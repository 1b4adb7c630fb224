"""Certificates of a hospital that lives as long as the tests: an authority, a node, a peer, and a stranger."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import trustme

from ctiqa_node.network_settings import TlsSection


@dataclass(frozen=True)
class Identity:
    """A certificate with its key, as PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Hospital:
    """The authority's certificate, and who has one of it."""

    ca: Path
    node: Identity
    peer: Identity
    stranger_ca: Path
    stranger: Identity

    def section(self, verify_clients: str = "required") -> TlsSection:
        """The `tls` section of the node."""
        return TlsSection.model_validate(
            {
                "certificate": self.node.certificate, "key": self.node.key, "ca": self.ca,
                "verify_clients": verify_clients,
            }
        )  # fmt: skip

    def client(self, identity: Identity | None = None) -> ssl.SSLContext:
        """What a peer calls the node with."""
        context = ssl.create_default_context(cafile=str(self.ca))
        if identity is not None:
            context.load_cert_chain(identity.certificate, identity.key)
        return context

    def server(self, *, wants_certificates: bool = False) -> ssl.SSLContext:
        """What an archive listens with."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self.ca))
        context.load_cert_chain(self.node.certificate, self.node.key)
        context.verify_mode = ssl.CERT_REQUIRED if wants_certificates else ssl.CERT_NONE
        return context


def make_hospital(folder: Path) -> Hospital:
    """Two authorities and three certificates, for 127.0.0.1 and localhost."""
    own, other = trustme.CA(), trustme.CA()
    own.cert_pem.write_to_path(str(folder / "ca.pem"))
    other.cert_pem.write_to_path(str(folder / "other-ca.pem"))
    return Hospital(
        ca=folder / "ca.pem",
        node=_issue(own, folder, "node"),
        peer=_issue(own, folder, "peer"),
        stranger_ca=folder / "other-ca.pem",
        stranger=_issue(other, folder, "stranger"),
    )


def issue_until(folder: Path, name: str, end: datetime, begin: datetime | None = None) -> Identity:
    """A certificate that is valid until then, of an authority of its own, which is in NAME-ca.pem."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / f"{name}-ca.pem"))
    return _issue(authority, folder, name, not_after=end, not_before=begin)


def _issue(authority: trustme.CA, folder: Path, name: str, **validity: datetime | None) -> Identity:
    issued = authority.issue_cert("127.0.0.1", "localhost", **validity)
    made = Identity(folder / f"{name}.pem", folder / f"{name}.key")
    made.certificate.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(made.key))
    return made
