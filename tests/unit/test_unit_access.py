"""Who is let in: addresses, titles, limits and rates, on a clock of the test's own; and what is told of the others."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctiqa_node.config import NodeSection
from ctiqa_node.dimse import rejections
from ctiqa_node.dimse.access import (
    CALLED_NOT_RECOGNISED,
    CALLING_NOT_RECOGNISED,
    LOCAL_LIMIT_EXCEEDED,
    TEMPORARY_CONGESTION,
    Admission,
    Allowance,
    Caller,
    Gate,
    Refusal,
    plain_address,
)
from ctiqa_node.dimse.rejections import Rejections
from ctiqa_node.network_settings import Peer


@dataclass
class Clock:
    """Time that passes when the test says so."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass(eq=False)
class Thread:
    """What the gate looks at of an association."""

    running: bool = field(default=True)

    def is_alive(self) -> bool:
        return self.running


CLOCK = Clock()


def _gate(*peers: Peer, clock: Clock = CLOCK, most: int = 100, require_called: bool = True) -> Gate:
    return Gate(NodeSection(max_associations=most, require_called_ae_title=require_called), peers, clock)


def _ask(gate: Gate, address: str = "10.0.0.5", calling: str = "CT1", called: str = "CTIQA") -> Admission | Refusal:
    return gate.admit(Caller(address, calling, called), Thread())


def _answer(decision: Admission | Refusal) -> tuple[int, int, int] | str:
    return decision.answer if isinstance(decision, Refusal) else decision.peer.name


def test_without_peers_nobody_is_let_in_and_the_sentence_says_why() -> None:
    decision = _ask(_gate())
    assert isinstance(decision, Refusal)
    assert decision.answer == CALLING_NOT_RECOGNISED
    assert "peers: any" in decision.sentence


@pytest.mark.parametrize(
    ("networks", "address", "fits"),
    [
        (("10.0.0.0/24",), "10.0.0.255", True),
        (("10.0.0.0/24",), "10.0.1.0", False),
        (("10.0.0.5/32", "10.0.9.0/24"), "10.0.9.1", True),
        (("fd00::/64",), "fd00::1:2", True),
        (("fd00::/64",), "fd00:0:0:1::1", False),
        (("10.0.0.0/24",), "::ffff:10.0.0.7", True),
        (("fe80::/64",), "fe80::1%eth0", True),
        (("10.0.0.0/24",), "fd00::1", False),
        (("10.0.0.0/24",), "", False),
        ((), "", True),
    ],
)
def test_a_peer_calls_from_its_networks_only(networks: tuple[str, ...], address: str, fits: bool) -> None:
    gate = _gate(Peer(name="ct", addresses=networks))
    assert _answer(_ask(gate, address=address)) == ("ct" if fits else CALLING_NOT_RECOGNISED)
    assert gate.is_stranger(address) is not fits


def test_a_title_belongs_to_its_addresses() -> None:
    gate = _gate(
        Peer(name="ct", ae_titles=("CT1",), addresses=("10.0.0.0/24",)),
        Peer(name="pacs", ae_titles=("PACS",), addresses=("10.0.1.5",)),
    )
    assert _answer(_ask(gate, "10.0.0.9", "CT1")) == "ct"
    assert _answer(_ask(gate, "10.0.1.5", "PACS")) == "pacs"
    assert _answer(_ask(gate, "10.0.1.5", "CT1")) == CALLING_NOT_RECOGNISED
    stranger, wrong_title = _ask(gate, "10.0.2.1", "CT1"), _ask(gate, "10.0.0.9", "CT2")
    assert isinstance(stranger, Refusal)
    assert isinstance(wrong_title, Refusal)
    assert "peers[].addresses" in stranger.sentence
    assert "peers here: ct; peers[].ae_titles" in wrong_title.sentence


def test_the_first_peer_that_fits_counts() -> None:
    gate = _gate(Peer(name="first", ae_titles=("CT1",)), Peer(name="any"))
    assert [_answer(_ask(gate, calling=title)) for title in ("CT1", "CT2")] == ["first", "any"]


def test_a_stranger_does_not_learn_our_title_and_a_peer_learns_that_it_is_wrong() -> None:
    gate = _gate(Peer(name="ct", ae_titles=("CT1",)))
    assert _answer(_ask(gate, calling="X", called="WRONG")) == CALLING_NOT_RECOGNISED
    assert _answer(_ask(gate, calling="X")) == CALLING_NOT_RECOGNISED
    assert _answer(_ask(gate, called="WRONG")) == CALLED_NOT_RECOGNISED
    assert _answer(_ask(_gate(Peer(name="ct"), require_called=False), called="WRONG")) == "ct"


def test_a_peer_has_so_many_associations_at_once_and_leaves_room_for_others() -> None:
    gate = _gate(Peer(name="pacs", ae_titles=("PACS",), max_associations=2), Peer(name="any"))
    running = [Thread(), Thread()]
    for thread in running:
        assert _answer(gate.admit(Caller("10.0.0.5", "PACS", "CTIQA"), thread)) == "pacs"
    assert _answer(_ask(gate, calling="PACS")) == LOCAL_LIMIT_EXCEEDED
    assert _answer(_ask(gate, calling="CT1")) == "any"
    running[0].running = False
    assert _answer(_ask(gate, calling="PACS")) == "pacs"


def test_all_together_have_so_many() -> None:
    gate = _gate(Peer(name="any"), most=1)
    thread = Thread()
    assert _answer(gate.admit(Caller("10.0.0.5", "A", "CTIQA"), thread)) == "any"
    assert _answer(_ask(gate)) == LOCAL_LIMIT_EXCEEDED
    thread.running = False
    assert _answer(_ask(gate)) == "any"


def test_who_asks_too_often_is_told_to_come_back_later() -> None:
    clock = Clock()
    gate = _gate(Peer(name="router", associations_per_minute=6), clock=clock)
    answers = [_answer(_ask(gate)) for _ in range(8)]
    assert answers == ["router"] * 6 + [TEMPORARY_CONGESTION] * 2
    clock.now += 10
    assert [_answer(_ask(gate)) for _ in range(2)] == ["router", TEMPORARY_CONGESTION]


def test_instances_are_put_off_and_beyond_patience_refused() -> None:
    clock = Clock()
    gate = _gate(Peer(name="pacs", instances_per_minute=60), clock=clock)
    admission = _ask(gate)
    assert isinstance(admission, Admission)
    assert [admission.wait_for_instance(10) for _ in range(60)] == [0.0] * 60
    assert [admission.wait_for_instance(10) for _ in range(11)] == [*map(pytest.approx, range(1, 11)), None]
    clock.now += 11
    assert admission.wait_for_instance(10) == pytest.approx(0, abs=1e-9)


@given(st.integers(1, 6000), st.lists(st.floats(0, 5), max_size=200))
def test_no_more_than_a_minutes_worth_and_the_rate_ever_pass(per_minute: int, pauses: list[float]) -> None:
    clock = Clock(0.0)
    allowance = Allowance(per_minute, clock)
    taken = 0
    for pause in pauses:
        clock.now += pause
        taken += allowance.take() is not None
        assert taken <= per_minute + clock.now * per_minute / 60 + 1e-6


def test_no_decision_asks_a_name_server(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_: object, **__: object) -> None:
        raise AssertionError("asked a name server")

    for function in ("getaddrinfo", "gethostbyname", "gethostbyaddr", "getnameinfo", "getfqdn"):
        monkeypatch.setattr(socket, function, asked)
    gate = _gate(Peer(name="ct", addresses=("10.0.0.0/24", "fd00::/64")))
    assert [_answer(_ask(gate, address)) for address in ("10.0.0.1", "fd00::1", "scanner.example.org")] == [
        "ct", "ct", CALLING_NOT_RECOGNISED,
    ]  # fmt: skip


def test_an_ipv4_address_that_came_over_ipv6_is_written_as_ipv4() -> None:
    assert plain_address("::ffff:10.0.0.7") == "10.0.0.7"
    assert plain_address("fe80::1%eth0") == "fe80::1"
    assert plain_address("nonsense") == "nonsense"


def test_the_same_rejection_is_told_once_in_an_interval_and_all_are_counted() -> None:
    clock = Clock()
    seen = Rejections(clock)
    told = [seen.note("10.0.0.9", f"T{number}", "unknown") for number in range(5)]
    assert told == [0, None, None, None, None]
    assert seen.note("10.0.0.9", "T", "another reason") == 0
    assert seen.note("10.0.0.8", "T", "unknown") == 0
    clock.now += rejections.INTERVAL_SECONDS
    assert seen.note("10.0.0.9", "LAST", "unknown") == 4
    summary = seen.summary()
    assert summary["total"] == 8
    latest = summary["latest"][0]
    assert (latest["address"], latest["calling_ae_title"], latest["count"]) == ("10.0.0.9", "LAST", 6)


def test_whoever_comes_from_many_addresses_fills_no_memory() -> None:
    seen = Rejections()
    for number in range(2000):
        seen.note(f"fd00::{number:x}", "X", "unknown")
    assert len(seen._seen) == rejections.MOST_ADDRESSES
    assert seen.summary()["total"] == 2000
    assert len(seen.summary()["latest"]) == rejections.SHOWN
