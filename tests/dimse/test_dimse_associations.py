"""Associations: how they end, who is let in, how many, and what happens to peers that speak no DICOM."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from pynetdicom.association import Association
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.sop_class import Verification

from ctiqa_node.config import NodeSection
from ctiqa_node.db.states import AssociationOutcome
from ctiqa_node.dimse.storage_scp import StorageScp
from ctiqa_node.errors import StateError
from support.peers import associated, contexts_for, request, store
from support.reception import Reception
from support.slices import ct_datasets
from support.waiting import eventually

OpenReception = Callable[..., Reception]


def _outcomes(reception: Reception) -> list[AssociationOutcome]:
    return [association.outcome for association in reception.associations()]


def _answer(association: Association) -> tuple[int, int, int]:
    """Result, source and diagnostic of an A-ASSOCIATE-RJ (PS3.8 9.3.4)."""
    assert association.is_rejected
    answer = association.acceptor.primitive
    return answer.result, answer.result_source, answer.diagnostic


def test_a_released_association_is_recorded(reception: Reception) -> None:
    request(reception.port, calling="SCANNER").release()
    eventually(lambda: _outcomes(reception) == [AssociationOutcome.RELEASED])
    (row,) = reception.associations()
    assert (row.calling_ae_title, row.called_ae_title, row.address) == ("SCANNER", "CTIQA", "127.0.0.1")
    assert (row.stored, row.refused, row.detail) == (0, 0, None)
    assert row.closed_at is not None
    assert row.closed_at >= row.opened_at


def test_many_released_associations_are_all_recorded_as_released(reception: Reception) -> None:
    def once() -> None:
        request(reception.port).release()

    threads = [threading.Thread(target=once) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    eventually(lambda: _outcomes(reception) == [AssociationOutcome.RELEASED] * 12)


def test_an_association_that_the_peer_aborts_is_recorded(reception: Reception) -> None:
    request(reception.port).abort()
    eventually(lambda: _outcomes(reception) == [AssociationOutcome.ABORTED])
    assert reception.associations()[0].detail == "aborted by the peer"


def test_a_lost_connection_is_recorded(reception: Reception) -> None:
    association = request(reception.port)
    association.dul.socket.socket.shutdown(socket.SHUT_RDWR)
    eventually(lambda: _outcomes(reception) == [AssociationOutcome.ABORTED])
    eventually(lambda: reception.associations()[0].detail == "the connection was lost")


def test_a_silent_association_is_aborted_and_recorded(open_reception: OpenReception) -> None:
    reception = open_reception(network_timeout_seconds=0.5)
    association = request(reception.port)
    eventually(lambda: association.is_aborted, 10)
    eventually(lambda: _outcomes(reception) == [AssociationOutcome.ABORTED])
    assert reception.associations()[0].detail == "aborted by this node"


def test_an_open_association_is_recorded_as_open(reception: Reception) -> None:
    with associated(reception.port):
        eventually(lambda: _outcomes(reception) == [AssociationOutcome.OPEN])


def test_a_wrong_called_ae_title_is_rejected_with_diagnostic_7(reception: Reception) -> None:
    assert _answer(request(reception.port, called="SOMEBODY")) == (1, 1, 7)
    eventually(lambda: _outcomes(reception) == [AssociationOutcome.REJECTED])
    (row,) = reception.associations()
    assert (row.called_ae_title, row.calling_ae_title) == ("SOMEBODY", "SCANNER")
    assert row.detail == "called AE title not recognised (ours is CTIQA)"
    assert row.closed_at is not None


def test_any_called_ae_title_will_do_when_configured_so(open_reception: OpenReception) -> None:
    association = request(open_reception(require_called_ae_title=False).port, called="SOMEBODY")
    assert association.is_established
    association.release()


def test_one_association_too_many_is_rejected_transiently(open_reception: OpenReception) -> None:
    reception = open_reception(max_associations=2)
    with associated(reception.port), associated(reception.port):
        assert _answer(request(reception.port)) == (2, 3, 2)
        eventually(lambda: AssociationOutcome.REJECTED in _outcomes(reception))
        assert reception.associations()[-1].detail == "local limit exceeded (node.max_associations is 2)"
    eventually(lambda: _outcomes(reception).count(AssociationOutcome.RELEASED) == 2)
    eventually(lambda: _established(request(reception.port)))


def test_the_recorded_reason_is_the_one_that_was_answered(open_reception: OpenReception) -> None:
    reception = open_reception(max_associations=1)
    with associated(reception.port):
        assert _answer(request(reception.port, called="SOMEBODY")) == (2, 3, 2)
        eventually(lambda: AssociationOutcome.REJECTED in _outcomes(reception))
        assert reception.associations()[-1].detail == "local limit exceeded (node.max_associations is 1)"


def test_a_port_in_use_is_a_state_error(reception: Reception) -> None:
    settings = NodeSection(address="127.0.0.1", port=reception.port)
    with pytest.raises(StateError, match=r"Cannot listen on .*: Address already in use"):
        StorageScp(settings, (), reception.database, reception.ingest).start()


def test_an_address_of_another_machine_is_a_state_error(reception: Reception) -> None:
    settings = NodeSection(address="192.0.2.1", port=0)
    with pytest.raises(StateError, match=r"Cannot listen on 192\.0\.2\.1"):
        StorageScp(settings, (), reception.database, reception.ingest).start()


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x00" * 64,
        b"\x01\x00\x00\x00\x00\x04abcd",
        b"\x04\x00\x00\x00\x00\x0a" + b"\xff" * 10,
    ],
    ids=["http", "zeros", "short request", "data before an association"],
)
def test_garbage_on_the_socket_harms_nobody(reception: Reception, tmp_path: Path, garbage: bytes) -> None:
    with socket.create_connection(("127.0.0.1", reception.port), 5) as connection:
        connection.sendall(garbage)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(10)
        while connection.recv(4096):
            pass
    assert store(reception.port, ct_datasets(tmp_path / "ct", 1)) == [0]
    _all_let_go(reception)


def test_half_a_pdu_and_then_the_end_of_the_connection_harms_nobody(reception: Reception, tmp_path: Path) -> None:
    with socket.create_connection(("127.0.0.1", reception.port), 5) as connection:
        connection.sendall(b"\x01\x00\x00\x00\x10\x00" + b"\x00" * 100)
    assert store(reception.port, ct_datasets(tmp_path / "ct", 1)) == [0]
    _all_let_go(reception)


def test_half_a_pdu_and_then_silence_does_not_hold_an_association_for_ever(open_reception: OpenReception) -> None:
    reception = open_reception(acse_timeout_seconds=0.5, network_timeout_seconds=1, max_associations=1)
    with socket.create_connection(("127.0.0.1", reception.port), 5) as connection:
        connection.sendall(b"\x01\x00\x00\x00\x10\x00" + b"\x00" * 100)
        eventually(lambda: _established(request(reception.port)), 15)


def test_half_a_dataset_and_then_silence_does_not_hold_an_association_for_ever(open_reception: OpenReception) -> None:
    reception = open_reception(network_timeout_seconds=1, max_associations=1)
    association = request(reception.port)
    association.dul.socket.socket.sendall(struct.pack(">BBLLBB", 4, 0, 5000, 4996, 1, 2) + b"\x00" * 100)
    try:
        eventually(lambda: _outcomes(reception) == [AssociationOutcome.ABORTED], 15)
        eventually(lambda: _established(request(reception.port)), 15)
    finally:
        association.abort()


def test_the_end_of_the_connection_in_the_middle_of_a_dataset_keeps_nothing(
    reception: Reception, tmp_path: Path
) -> None:
    association = request(reception.port)
    association.dul.socket.socket.sendall(struct.pack(">BBLLBB", 4, 0, 5000, 4996, 1, 2) + b"\x00" * 100)
    association.dul.socket.socket.shutdown(socket.SHUT_RDWR)
    eventually(lambda: _outcomes(reception) == [AssociationOutcome.ABORTED])
    assert not reception.instances()
    assert not reception.files()


def test_a_connection_without_a_word_is_let_go(open_reception: OpenReception) -> None:
    reception = open_reception(acse_timeout_seconds=0.5, max_associations=1)
    with socket.create_connection(("127.0.0.1", reception.port), 5):
        eventually(lambda: _established(request(reception.port)), 15)


def test_verification_is_answered(reception: Reception) -> None:
    from pynetdicom.presentation import build_context

    with associated(reception.port, [build_context(Verification)]) as association:
        assert association.send_c_echo().Status == 0x0000


def test_stop_lets_what_is_being_received_end_well(tmp_path: Path) -> None:
    datasets = ct_datasets(tmp_path / "ct", 3)
    with Reception(tmp_path / "node", shutdown_seconds=10) as reception:
        association = request(reception.port, contexts_for(datasets))
        stopping = threading.Thread(target=reception.scp.stop)
        stopping.start()
        eventually(lambda: not _accepts_connections(association.acceptor.port), 5)
        statuses = [association.send_c_store(dataset).Status for dataset in datasets]
        association.release()
        stopping.join(10)
        assert not stopping.is_alive()
        assert statuses == [0, 0, 0]
        assert _outcomes(reception) == [AssociationOutcome.RELEASED]
        assert len(reception.instances()) == 3


def test_stop_ends_a_peer_that_does_not_end(tmp_path: Path) -> None:
    with Reception(tmp_path / "node", shutdown_seconds=0.5) as reception:
        association = request(reception.port)
        reception.scp.stop()
        eventually(lambda: association.is_aborted)
        assert _outcomes(reception) == [AssociationOutcome.ABORTED]
        assert not reception.scp._ae.active_associations


def test_a_request_with_an_unreadable_calling_title_harms_nobody(reception: Reception) -> None:
    pdu = A_ASSOCIATE_RQ()
    pdu.calling_ae_title, pdu.called_ae_title = "SCANNER", "CTIQA"
    encoded = bytearray(pdu.encode())
    encoded[26:42] = b"\xff" * 16
    with socket.create_connection(("127.0.0.1", reception.port), 5) as connection:
        connection.sendall(bytes(encoded))
        connection.settimeout(10)
        connection.recv(4096)
    _all_let_go(reception)
    assert _established(request(reception.port))


def _established(association: Association) -> bool:
    if association.is_established:
        association.release()
        return True
    return False


def _accepts_connections(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True
    except OSError:
        return False


def _all_let_go(reception: Reception) -> None:
    eventually(lambda: not reception.scp._ae.active_associations, 15)
