"""Fragments without end: an association ends before its peer has filled the memory, and says why."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from ctiqa_node.db.states import AssociationOutcome
from support.fuzz import association_request, echo_request, store_request
from support.peers import store
from support.reception import Reception
from support.slices import ct_datasets, part10, peers_bytes
from support.waiting import eventually

OpenReception = Callable[..., Reception]
COMMAND, DATASET = 1, 0
CONTEXT = 1


def _fragment(kind: int, content: bytes) -> bytes:
    """A P-DATA-TF with one fragment that is not the last (PS3.8 9.3.5, E.2)."""
    return struct.pack(">BBLLBB", 4, 0, len(content) + 6, len(content) + 2, CONTEXT, kind) + content


@contextmanager
def _opened(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.settimeout(20)
        connection.sendall(association_request())
        assert connection.recv(1 << 16)[:1] == b"\x02"
        yield connection


def _answers(connection: socket.socket) -> bytes:
    answered = b""
    with suppress(OSError):
        while part := connection.recv(1 << 16):
            answered += part
    return answered


def _send_until_ended(connection: socket.socket, piece: bytes, most: int) -> int:
    """Send the same piece again and again; how often it went out before the node hung up."""
    hung_up = threading.Event()

    def listen() -> None:
        if connection.recv(1 << 16)[:1] == b"\x07":  # A-ABORT
            hung_up.set()

    listening = threading.Thread(target=listen, daemon=True)
    listening.start()
    sent = 0
    with suppress(OSError):
        while sent < most and not hung_up.is_set():
            connection.sendall(piece)
            sent += 1
    listening.join(20)
    assert hung_up.is_set()
    return sent


def _ended_because(reception: Reception) -> str:
    eventually(lambda: [row.outcome for row in reception.associations()] == [AssociationOutcome.ABORTED])
    return str(reception.associations()[0].detail)


def test_a_dataset_without_end_ends_its_association(
    open_reception: OpenReception, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    configure_logs: Callable[..., None],
) -> None:  # fmt: skip
    configure_logs(format="console")
    reception = open_reception(max_dataset_mib=2)
    request = store_request(b"\x00" * 8)
    with _opened(reception.port) as connection:
        connection.sendall(request[: 6 + struct.unpack(">L", request[2:6])[0]])  # the command alone
        sent = _send_until_ended(connection, _fragment(DATASET, bytes(1 << 16)), 2000)
    assert sent < 200, "64 KiB each: it may take in 2 MiB and what the buffers of the sockets hold"
    reason = "its dataset has more than 2 MiB (node.max_dataset_mib)"
    assert _ended_because(reception) == f"ended by this node: {reason}"
    assert f"reason='{reason}'" in capsys.readouterr().err
    assert reception.scp.rejections.summary()["latest"][0]["reason"] == reason
    assert store(reception.port, ct_datasets(tmp_path / "ct", 2)) == [0, 0]


def test_a_dataset_of_the_length_that_is_taken_is_taken(open_reception: OpenReception, tmp_path: Path) -> None:
    reception = open_reception(max_dataset_mib=1)
    (dataset,) = ct_datasets(tmp_path / "ct", 1)
    dataset.add_new(0x00091010, "OB", bytes((1 << 20) - len(peers_bytes(part10(dataset))) - 12))
    dataset.add_new(0x00090010, "LO", "")
    over = len(peers_bytes(part10(dataset))) - (1 << 20)
    dataset[0x00091010].value = bytes(len(dataset[0x00091010].value) - over)
    assert len(peers_bytes(part10(dataset))) == 1 << 20
    assert store(reception.port, [dataset, dataset, dataset]) == [0, 0, 0]


def test_a_command_without_end_ends_its_association(reception: Reception) -> None:
    with _opened(reception.port) as connection:
        assert _send_until_ended(connection, _fragment(COMMAND, bytes(1 << 12)), 5000) < 2000
    assert "command set has more than 65536 bytes" in _ended_because(reception)


@pytest.mark.parametrize("what", ["echo", "store"])
def test_requests_that_wait_for_no_answer_end_their_association(
    open_reception: OpenReception, tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reception = open_reception(max_dataset_mib=1)
    busy = threading.Event()
    monkeypatch.setattr(reception.ingest, "receive", lambda *_: busy.wait(20))
    first = store_request(peers_bytes(part10(ct_datasets(tmp_path / "ct", 1)[0])))
    again = echo_request() if what == "echo" else store_request(bytes(200_000))
    try:
        with _opened(reception.port) as connection:
            connection.sendall(first)
            sent = _send_until_ended(connection, again, 200_000)  # more than what fits between two sockets
    finally:
        busy.set()
    assert sent < 200_000
    reason = "without waiting for answers" if what == "echo" else "its dataset has more than 1 MiB"
    assert reason in _ended_because(reception)
