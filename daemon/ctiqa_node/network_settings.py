"""The parts of the configuration that say who may talk to the node; what `config` builds its sections of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_settings import NoDecode

ANY = "any"
PER_MINUTE_MAX = 1_000_000


def _ae_title(value: str) -> str:
    title = value.strip()
    if not 1 <= len(title) <= 16 or "\\" in title or not title.isascii() or not title.isprintable():
        raise ValueError("an AE title has 1 to 16 printable ASCII characters and no backslash (DICOM PS3.5 6.2)")
    return title


def _network(value: str) -> str:
    try:
        return str(ip_network(value.strip()))
    except ValueError as error:
        raise ValueError(
            "an address (10.0.0.5, fd00::5) or a network (10.0.0.0/24, fd00::/64) without host bits; "
            "names are not looked up"
        ) from error


AeTitle = Annotated[str, AfterValidator(_ae_title)]
Network = Annotated[str, AfterValidator(_network)]
SopClass = Annotated[str, Field(pattern=r"^([A-Za-z][A-Za-z0-9]*|[0-9]+(\.[0-9]+)+)$", max_length=96)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=31 * 86400)]
PerMinute = Annotated[int, Field(ge=1, le=PER_MINUTE_MAX)]
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")]


class Section(BaseModel):
    """A section of the configuration: unknown keys are refused, and nothing changes once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Peer(Section):
    """One or more Application Entities that may send to us. What is left out is not limited."""

    name: Name
    ae_titles: tuple[AeTitle, ...] = ()
    addresses: tuple[Network, ...] = ()
    max_associations: Annotated[int, Field(ge=1, le=1000)] | None = None
    associations_per_minute: PerMinute | None = None
    instances_per_minute: PerMinute | None = None
    sop_classes: tuple[SopClass, ...] = ()
    """Keywords or UIDs; `dimse.contexts.storage_class` knows which there are."""


def _peers(value: Any) -> Any:
    """The word `any` is one peer without limits; a text from the environment is JSON."""
    if value == ANY:
        return ({"name": ANY},)
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        raise ValueError("a list of peers, or the word any") from error


def _distinct(peers: Sequence[Peer]) -> Sequence[Peer]:
    names = [peer.name for peer in peers]
    if doubled := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"the name {sorted(doubled)[0]!r} is used twice")
    return peers


Peers = Annotated[tuple[Peer, ...], NoDecode, BeforeValidator(_peers), AfterValidator(_distinct)]
"""From YAML a list, or the word `any`; from the environment that word, or a list as JSON."""


def _switch(value: Any) -> Any:
    """YAML reads the bare word off as false."""
    return "off" if value is False else value


class TlsSection(Section):
    """TLS on the port that we listen on; without a certificate there is none."""

    certificate: Path | None = None
    key: Path | None = None
    ca: Path | None = None
    verify_clients: Annotated[Literal["off", "optional", "required"], BeforeValidator(_switch)] = "required"

    @model_validator(mode="after")
    def _complete(self) -> TlsSection:
        if self.certificate is None and (self.key or self.ca):
            raise ValueError("key and ca are of no use without certificate")
        if self.certificate is not None and self.ca is None and self.verify_clients != "off":
            raise ValueError(f"verify_clients is {self.verify_clients}, which needs ca; or set verify_clients: off")
        return self


class DestinationTls(Section):
    """TLS towards a destination; its presence switches it on."""

    ca: Path | None = None
    """None: the authorities that this machine trusts."""
    certificate: Path | None = None
    key: Path | None = None
    check_host_name: bool = True
    server_name: str | None = None
    """The name that its certificate must have; None: destinations[].host."""

    @model_validator(mode="after")
    def _complete(self) -> DestinationTls:
        if self.key is not None and self.certificate is None:
            raise ValueError("key is of no use without certificate")
        return self
