"""Many at once, and many who mean no good: nobody else notices, and memory stays flat."""

from __future__ import annotations

import gc
import resource
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pynetdicom.pdu import A_ASSOCIATE_RQ

from ctiqa_node.db.states import AssociationOutcome
from ctiqa_node.dicom import ApplicationEntity
from ctiqa_node.dimse.server import MOST_PDU_BYTES, WaitingRoom
from ctiqa_node.dimse.storage_scu import Patience, echo
from support.peers import associated, request, store
from support.reception import Reception
from support.slices import ct_datasets
from support.waiting import eventually

OpenReception = Callable[..., Reception]


def _connect(port: int, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 10, source_address=(source, 0))


def _released(port: int, **how: str) -> bool:
    association = request(port, **how)
    if association.is_established:
        association.release()
        return True
    return False


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / (1 << 20)


def _closed_by_peer(connection: socket.socket, seconds: float) -> bool:
    connection.settimeout(seconds)
    try:
        while connection.recv(4096):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


@pytest.mark.slow
def test_sixty_four_associations_at_once_all_send(open_reception: OpenReception, tmp_path: Path) -> None:
    reception = open_reception()
    datasets = ct_datasets(tmp_path / "ct", 64)
    answers: list[list[int]] = []
    all_there = threading.Barrier(64)

    def send(number: int) -> None:
        with associated(reception.port, calling=f"CT{number}") as association:
            all_there.wait(120)
            answers.append([int(association.send_c_store(datasets[number]).Status)])

    threads = [threading.Thread(target=send, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(150)
    assert answers == [[0]] * 64
    assert len(reception.instances()) == 64


def test_who_drips_half_a_request_holds_up_nobody_and_is_ended_in_time(open_reception: OpenReception) -> None:
    reception = open_reception(acse_timeout_seconds=1.5, network_timeout_seconds=30, max_associations=2)
    drips = [_connect(reception.port) for _ in range(8)]
    for drip in drips:
        drip.sendall(b"\x01\x00\x00\x00\x10\x00")
    began = time.monotonic()
    assert _released(reception.port)
    stop = threading.Event()

    def drop_by_drop() -> None:
        while not stop.wait(0.2):
            for drip in drips:
                try:
                    drip.sendall(b"\x00")
                except OSError:
                    return

    dripping = threading.Thread(target=drop_by_drop)
    dripping.start()
    try:
        assert all(_closed_by_peer(drip, 20) for drip in drips)
        assert time.monotonic() - began < 15
    finally:
        stop.set()
        dripping.join(10)
        for drip in drips:
            drip.close()


def test_who_drips_a_dataset_is_ended_however_often_a_byte_comes(open_reception: OpenReception) -> None:
    reception = open_reception(network_timeout_seconds=1)
    association = request(reception.port)
    connection = association.dul.socket.socket
    connection.sendall(struct.pack(">BBLLBB", 4, 0, 5000, 4996, 1, 2))
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline and not association.is_aborted:
        try:
            connection.sendall(b"\x00")
        except OSError:
            break
        time.sleep(0.1)
    eventually(lambda: [row.outcome for row in reception.associations()] == [AssociationOutcome.ABORTED])
    association.abort()


def test_a_pdu_of_four_gigabytes_is_not_waited_for(open_reception: OpenReception) -> None:
    reception = open_reception(acse_timeout_seconds=60, network_timeout_seconds=60)
    with _connect(reception.port) as connection:
        connection.sendall(b"\x01\x00\xff\xff\xff\xff" + b"\x00" * 100)
        assert _closed_by_peer(connection, 20)
    with _connect(reception.port) as connection:
        connection.sendall(struct.pack(">BBL", 1, 0, MOST_PDU_BYTES + 100))
        assert _closed_by_peer(connection, 20)
    assert _released(reception.port)


def test_connections_without_a_word_are_bounded_and_leave_room_for_others(open_reception: OpenReception) -> None:
    reception = open_reception(max_associations=2, acse_timeout_seconds=60)
    silent = [_connect(reception.port, "127.0.0.9") for _ in range(40)]
    try:
        eventually(lambda: "too many connections wait" in str(reception.scp.rejections.summary()))
        assert _released(reception.port, source="127.0.0.8")
    finally:
        for connection in silent:
            connection.close()
    server = reception.scp._server
    assert server is not None
    eventually(lambda: len(server.waiting) == 0)
    assert _released(reception.port, source="127.0.0.9")


def test_stopping_waits_for_nobody_who_says_nothing(tmp_path: Path) -> None:
    with Reception(tmp_path / "node", acse_timeout_seconds=60) as reception:
        silent = _connect(reception.port)
        eventually(lambda: len(reception.scp._server.waiting) == 1)
        began = time.monotonic()
        reception.scp.stop()
        assert time.monotonic() - began < 5
        assert _closed_by_peer(silent, 5)
        silent.close()


@pytest.mark.slow
def test_five_hundred_health_checks_leave_no_trace(reception: Reception) -> None:
    def check() -> None:
        _connect(reception.port).close()

    for _ in range(50):  # whatever is made once
        check()
    threads, before = threading.active_count(), _resident_mib()
    for _ in range(500):
        check()
    eventually(lambda: threading.active_count() <= threads, 20)
    gc.collect()
    assert _resident_mib() - before < 10
    assert reception.associations() == []
    assert reception.scp.rejections.summary()["total"] == 0


@pytest.mark.slow
def test_many_associations_one_after_the_other_keep_memory_flat(reception: Reception) -> None:
    for _ in range(20):
        assert _released(reception.port)
    gc.collect()
    before = _resident_mib()
    for _ in range(100):
        assert _released(reception.port)
    gc.collect()
    assert _resident_mib() - before < 10


def test_an_archive_that_takes_the_connection_and_says_nothing_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        peer = ApplicationEntity("MUTE", "127.0.0.1", mute.getsockname()[1])
        began = time.monotonic()
        assert echo(peer, "CTIQA", Patience(connection=1, answer=1)) is not None
        assert time.monotonic() - began < 15


def test_a_request_in_two_halves_is_taken(reception: Reception, tmp_path: Path) -> None:
    pdu = A_ASSOCIATE_RQ()
    pdu.calling_ae_title, pdu.called_ae_title = "SCANNER", "CTIQA"
    encoded = pdu.encode()
    with _connect(reception.port) as connection:
        connection.sendall(encoded[:20])
        time.sleep(0.3)
        connection.sendall(encoded[20:])
        connection.settimeout(10)
        assert connection.recv(1) == b"\x02"  # A-ASSOCIATE-AC
    assert store(reception.port, ct_datasets(tmp_path / "ct", 1)) == [0]


def test_a_place_in_the_waiting_room_is_given_back() -> None:
    room = WaitingRoom(for_one_address=1)
    here, there = socket.socketpair()
    with here, there:
        ticket = room.enter("10.0.0.1", here)
        assert ticket is not None
        assert room.enter("10.0.0.1", there) is None
        assert room.enter("10.0.0.2", there) is not None
        ticket.served = True
        assert room.enter("10.0.0.1", there) is not None
