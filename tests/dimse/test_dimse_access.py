"""Access control of the SCP, over real sockets."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage
from pynetdicom.association import Association
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification

from ctiqa_node.db.states import AssociationOutcome
from ctiqa_node.dimse import storage_scp
from ctiqa_node.errors import ConfigError
from ctiqa_node.network_settings import Peer
from support.peers import request, store
from support.reception import Reception
from support.slices import ct_datasets
from support.waiting import eventually

OpenReception = Callable[..., Reception]


def _answer(association: Association) -> tuple[int, int, int] | None:
    """Result, source and diagnostic of an A-ASSOCIATE-RJ (PS3.8 9.3.4); None for an association, which is released."""
    if association.is_established:
        association.release()
        return None
    assert association.is_rejected
    answer = association.acceptor.primitive
    return answer.result, answer.result_source, answer.diagnostic


def test_by_default_nobody_is_let_in(open_reception: OpenReception) -> None:
    reception = open_reception(peers=())
    assert _answer(request(reception.port)) == (1, 1, 3)
    eventually(lambda: [row.outcome for row in reception.associations()] == [AssociationOutcome.REJECTED])
    assert "no peer is configured" in str(reception.associations()[0].detail)


def test_a_peer_is_known_by_its_title_and_its_address(open_reception: OpenReception) -> None:
    reception = open_reception(peers=(Peer(name="ct", ae_titles=("CT1",), addresses=("127.0.0.2/31",)),))
    assert _answer(request(reception.port, calling="CT1", source="127.0.0.2")) is None
    assert _answer(request(reception.port, calling="CT1", source="127.0.0.3")) is None
    assert _answer(request(reception.port, calling="CT1", source="127.0.0.4")) == (1, 1, 3)
    assert _answer(request(reception.port, calling="CT2", source="127.0.0.2")) == (1, 1, 3)
    assert _answer(request(reception.port, calling="CT1", called="WRONG", source="127.0.0.2")) == (1, 1, 7)
    assert _answer(request(reception.port, calling="CT2", called="WRONG", source="127.0.0.2")) == (1, 1, 3)


def test_a_peer_that_comes_over_ipv6_is_known_by_its_address(open_reception: OpenReception) -> None:
    peers = (Peer(name="six", addresses=("::1",)), Peer(name="four", addresses=("127.0.0.3",)))
    reception = open_reception(peers=peers, address="::")
    assert _answer(request(reception.port, source="::1", host="::1")) is None
    assert _answer(request(reception.port, source="127.0.0.3")) is None  # comes as ::ffff:127.0.0.3
    assert _answer(request(reception.port, source="127.0.0.4")) == (1, 1, 3)
    eventually(lambda: len(reception.associations()) == 3)
    assert [row.address for row in reception.associations()] == ["::1", "127.0.0.3", "127.0.0.4"]


def test_a_peers_associations_are_limited_apart_from_the_others(open_reception: OpenReception) -> None:
    peers = (Peer(name="pacs", ae_titles=("PACS",), max_associations=1), Peer(name="any"))
    reception = open_reception(peers=peers)
    held = request(reception.port, calling="PACS")
    assert _answer(request(reception.port, calling="PACS")) == (2, 3, 2)
    assert _answer(request(reception.port, calling="CT1")) is None
    held.release()
    eventually(lambda: _answer(request(reception.port, calling="PACS")) is None)


def test_who_asks_too_often_is_rejected_transiently(open_reception: OpenReception) -> None:
    reception = open_reception(peers=(Peer(name="router", associations_per_minute=2),))
    assert [_answer(request(reception.port)) for _ in range(3)] == [None, None, (2, 3, 1)]


def test_a_peer_may_send_only_its_sop_classes_and_may_verify(open_reception: OpenReception) -> None:
    reception = open_reception(peers=(Peer(name="ct", sop_classes=("CTImageStorage",)),))
    offered = [build_context(each, ExplicitVRLittleEndian) for each in (CTImageStorage, MRImageStorage, Verification)]
    association = request(reception.port, offered)
    assert {context.abstract_syntax for context in association.accepted_contexts} == {CTImageStorage, Verification}
    assert association.send_c_echo().Status == 0x0000
    association.release()


def test_who_sends_too_fast_is_slowed_down_and_nothing_is_lost(open_reception: OpenReception, tmp_path: Path) -> None:
    reception = open_reception(peers=(Peer(name="pacs", instances_per_minute=60),))
    admission = reception.scp._associations._gate._peers[0]
    while admission.wait_for_instance(0) == 0:  # the minute's worth that may come at once
        pass
    began = time.monotonic()
    assert store(reception.port, ct_datasets(tmp_path / "ct", 2)) == [0, 0]
    assert time.monotonic() - began > 1.0


def test_who_sends_far_too_fast_is_refused_for_now(
    open_reception: OpenReception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_scp, "RATE_PATIENCE_SECONDS", 0.1)
    reception = open_reception(peers=(Peer(name="pacs", instances_per_minute=2),))
    assert store(reception.port, ct_datasets(tmp_path / "ct", 3)) == [0, 0, 0xA700]
    assert len(reception.instances()) == 2


def test_many_rejections_make_one_row_and_are_all_counted(open_reception: OpenReception) -> None:
    reception = open_reception(peers=())
    for number in range(8):
        assert _answer(request(reception.port, calling=f"X{number}")) == (1, 1, 3)
    assert len(reception.associations()) == 1
    summary = reception.scp.rejections.summary()
    assert summary["total"] == 8
    assert summary["latest"][0]["calling_ae_title"] == "X7"


def test_an_error_in_the_decision_lets_nobody_in(
    open_reception: OpenReception, monkeypatch: pytest.MonkeyPatch
) -> None:
    reception = open_reception()

    def broken(*_: object) -> None:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(reception.scp._associations._gate, "admit", broken)
    assert _answer(request(reception.port)) == (2, 1, 1)


def test_a_sop_class_that_does_not_exist_is_refused_when_the_configuration_is_read() -> None:
    from ctiqa_node.dimse.sop_classes import require_known

    require_known([Peer(name="a", sop_classes=("EnhancedCTImageStorage", "1.2.840.10008.5.1.4.1.1.2"))])
    for name in ("CTImage", "ExplicitVRLittleEndian", "Verification", "1.2.3"):
        with pytest.raises(ConfigError, match="is no Storage SOP Class of the standard"):
            require_known([Peer(name="a", sop_classes=(name,))])
