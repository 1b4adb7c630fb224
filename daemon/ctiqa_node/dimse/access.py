"""Who may associate, how often and with what: decided from the address and titles of a request, without a look-up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any
from weakref import WeakSet

from ctiqa_node.config import NodeSection
from ctiqa_node.network_settings import Peer

# Result, source and diagnostic of an A-ASSOCIATE-RJ (PS3.8 Table 9-21)
CALLING_NOT_RECOGNISED = (1, 1, 3)
CALLED_NOT_RECOGNISED = (1, 1, 7)
TEMPORARY_CONGESTION = (2, 3, 1)
LOCAL_LIMIT_EXCEEDED = (2, 3, 2)


Congestion = Callable[[], str | None]
"""Why no association can be taken just now, always in the same words; None: one can."""


def never_congested() -> None:
    """Nothing stands in the way of an association."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks for an association: the address of the connection, and the AE titles of the request."""

    address: str
    calling: str
    called: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an association is rejected: the answer to the peer, and a sentence for our log that names the setting."""

    answer: tuple[int, int, int]
    sentence: str


class Allowance:
    """So many a minute, and as many at once after a quiet minute. Thread-safe."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_minute / 60
        self._most = float(per_minute)
        self._left = self._most
        self._clock = clock
        self._at = clock()
        self._lock = threading.Lock()

    def take(self, patience: float = 0.0) -> float | None:
        """Take one: the seconds to wait before using it, 0 for none; None, and nothing taken, when beyond patience."""
        with self._lock:
            moment = self._clock()
            self._left = min(self._most, self._left + (moment - self._at) * self._per_second)
            self._at = moment
            wait = max(0.0, (1 - self._left) / self._per_second)
            if wait > patience:
                return None
            self._left -= 1
            return wait


class Admission:
    """A peer with what it has open and what it may still do; the same one for all its associations."""

    def __init__(self, peer: Peer, clock: Callable[[], float]) -> None:
        self.peer = peer
        self._networks = [ip_network(each) for each in peer.addresses]
        self._associations = peer.associations_per_minute and Allowance(peer.associations_per_minute, clock)
        self._instances = peer.instances_per_minute and Allowance(peer.instances_per_minute, clock)
        self._open: WeakSet[Any] = WeakSet()

    def fits(self, address: IPv4Address | IPv6Address | None) -> bool:
        """Whether connections from this address may be of this peer."""
        return not self._networks or (address is not None and any(address in network for network in self._networks))

    def knows(self, calling: str) -> bool:
        """Whether this peer calls from this AE title."""
        return not self.peer.ae_titles or calling in self.peer.ae_titles

    def enter(self, association: Any) -> Refusal | None:
        """Count an association in, or say why not. It counts until its thread has ended."""
        most, name = self.peer.max_associations, self.peer.name
        if most is not None and alive(self._open) >= most:
            return Refusal(LOCAL_LIMIT_EXCEEDED, f"peer {name} has {most} associations (its max_associations)")
        if self._associations and self._associations.take() is None:
            rate = self.peer.associations_per_minute
            return Refusal(TEMPORARY_CONGESTION, f"peer {name} asks too often (its associations_per_minute is {rate})")
        self._open.add(association)
        return None

    def wait_for_instance(self, patience: float) -> float | None:
        """The seconds by which an instance has to be put off; None when that is longer than patience."""
        return self._instances.take(patience) if self._instances else 0.0


class Gate:
    """Decides on requests for associations. Thread-safe."""

    def __init__(
        self,
        settings: NodeSection,
        peers: Sequence[Peer],
        clock: Callable[[], float] = time.monotonic,
        congestion: Congestion = never_congested,
    ) -> None:
        self._settings = settings
        self._congestion = congestion
        self._peers = [Admission(peer, clock) for peer in peers]
        self._open: WeakSet[Any] = WeakSet()
        self._lock = threading.Lock()

    def is_stranger(self, address: str) -> bool:
        """Whether no peer at all may call from this address."""
        return not any(peer.fits(_parsed(address)) for peer in self._peers)

    def admit(self, caller: Caller, association: Any) -> Admission | Refusal:
        """Let an association in, counted as long as its thread runs, or say why not. The first peer that fits counts.

        A stranger is told nothing but that; whether the called AE title is right, only a peer learns.
        """
        with self._lock:
            most = self._settings.max_associations
            if alive(self._open) >= most:
                return Refusal(LOCAL_LIMIT_EXCEEDED, f"local limit exceeded (node.max_associations is {most})")
            found = self._find(caller)
            if isinstance(found, Refusal):
                return found
            if self._settings.require_called_ae_title and caller.called != self._settings.ae_title:
                return Refusal(
                    CALLED_NOT_RECOGNISED, f"called AE title not recognised (ours is {self._settings.ae_title})"
                )
            congested = self._congestion()
            if congested is not None:
                return Refusal(TEMPORARY_CONGESTION, congested)
            refusal = found.enter(association)
            if refusal is not None:
                return refusal
            self._open.add(association)
            return found

    def _find(self, caller: Caller) -> Admission | Refusal:
        if not self._peers:
            return Refusal(
                CALLING_NOT_RECOGNISED, "nobody is let in: no peer is configured (name them under peers, or peers: any)"
            )
        here = [peer for peer in self._peers if peer.fits(_parsed(caller.address))]
        if not here:
            return Refusal(CALLING_NOT_RECOGNISED, "the address belongs to no peer (peers[].addresses)")
        for peer in here:
            if peer.knows(caller.calling):
                return peer
        names = ", ".join(peer.peer.name for peer in here)
        return Refusal(
            CALLING_NOT_RECOGNISED, f"calling AE title not recognised (peers here: {names}; peers[].ae_titles)"
        )


def alive(associations: WeakSet[Any]) -> int:
    """How many of them still run; one that ended in an unforeseen way does not count for ever."""
    return sum(each.is_alive() for each in list(associations))


def plain_address(address: str) -> str:
    """An address as one writes it: an IPv4 address that came over an IPv6 socket as IPv4, without a zone."""
    parsed = _parsed(address)
    return address if parsed is None else str(parsed)


def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed
