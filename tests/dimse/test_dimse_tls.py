"""TLS on our port and towards destinations: with dcmtk and pynetdicom, and with peers that have it wrong."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE

from ctiqa_node.dicom import ApplicationEntity
from ctiqa_node.dimse import tls
from ctiqa_node.dimse.storage_scu import echo, send
from ctiqa_node.errors import ConfigError
from ctiqa_node.network_settings import DestinationTls, TlsSection
from support.certificates import Hospital, make_hospital
from support.peers import Archive, request
from support.reception import Reception
from support.slices import ct_files
from support.waiting import eventually

OpenReception = Callable[..., Reception]

needs_dcmtk = pytest.mark.skipif(shutil.which("storescu") is None, reason="needs dcmtk")


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Hospital:
    return make_hospital(tmp_path_factory.mktemp("certificates"))


def _reasons(reception: Reception) -> list[str]:
    return [each["reason"] for each in reception.scp.rejections.summary()["latest"]]


def _call(reception: Reception, context: ssl.SSLContext, name: str | None = "127.0.0.1") -> bool:
    """Associate over TLS with pynetdicom; whether it came about."""
    ae = AE(ae_title="SCANNER")
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 20
    ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    secured: Any = (context, name)
    association = ae.associate("127.0.0.1", reception.port, ae_title="CTIQA", tls_args=secured)
    if not association.is_established:
        return False
    association.release()
    return True


def _dcmtk(program: str, port: int, *options: object) -> subprocess.CompletedProcess[str]:
    command = [program, "-to", "20", *map(str, options[:-1] if program == "storescu" else options)]
    tail = ["-aec", "CTIQA", "127.0.0.1", str(port), *([str(options[-1])] if program == "storescu" else [])]
    return subprocess.run([*command, *tail], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.peers
@needs_dcmtk
def test_storescu_sends_over_tls_and_shows_its_certificate(
    open_reception: OpenReception, hospital: Hospital, tmp_path: Path
) -> None:
    reception = open_reception(tls=hospital.section())
    (path,) = ct_files(tmp_path / "ct", 1)
    who = hospital.peer
    done = _dcmtk("storescu", reception.port, "+tls", who.key, who.certificate, "+cf", hospital.ca, path)
    assert done.returncode == 0, done.stderr
    assert len(reception.instances()) == 1


@pytest.mark.peers
@needs_dcmtk
def test_echoscu_without_a_certificate_is_let_in_only_where_none_is_required(
    open_reception: OpenReception, hospital: Hospital
) -> None:
    reception = open_reception(tls=hospital.section("optional"))
    done = _dcmtk("echoscu", reception.port, "+tla", "-ic")
    assert done.returncode == 0, done.stderr


def test_a_client_without_a_certificate_is_turned_away_where_one_is_required(
    open_reception: OpenReception, hospital: Hospital
) -> None:
    reception = open_reception(tls=hospital.section())
    assert not _call(reception, hospital.client())
    eventually(lambda: _reasons(reception) == ["shows no client certificate, and tls.verify_clients is required"])
    assert _call(reception, hospital.client(hospital.peer))


@pytest.mark.parametrize("verify", ["required", "optional"])
def test_a_certificate_of_somebody_else_is_not_accepted(
    open_reception: OpenReception, hospital: Hospital, verify: str
) -> None:
    reception = open_reception(tls=hospital.section(verify))
    assert not _call(reception, hospital.client(hospital.stranger))
    eventually(lambda: _reasons(reception)[0].startswith("shows a certificate that is not accepted: "))


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_no_version_below_1_2_is_spoken(open_reception: OpenReception, hospital: Hospital) -> None:
    reception = open_reception(tls=hospital.section("off"))
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with (
        socket.create_connection(("127.0.0.1", reception.port), 10) as connection,
        pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"),
    ):
        old.wrap_socket(connection)
    eventually(lambda: _reasons(reception) == ["speaks only TLS older than 1.2 (RFC 8996)"])


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_of_the_profile_are_spoken(
    open_reception: OpenReception, hospital: Hospital, version: ssl.TLSVersion
) -> None:
    reception = open_reception(tls=hospital.section())
    context = hospital.client(hospital.peer)
    context.minimum_version = context.maximum_version = version
    assert _call(reception, context)


def test_a_plain_peer_on_a_tls_port_and_the_reverse_are_told_in_a_sentence(
    open_reception: OpenReception, hospital: Hospital
) -> None:
    reception = open_reception(tls=hospital.section("off"))
    assert not request(reception.port).is_established
    eventually(lambda: _reasons(reception) == ["speaks no TLS, and this port takes nothing else (tls.certificate)"])


def test_a_tls_peer_on_a_plain_port_is_told_in_a_sentence(reception: Reception, hospital: Hospital) -> None:
    assert not _call(reception, hospital.client())
    eventually(lambda: _reasons(reception) == ["speaks TLS, and this port has none (tls.certificate)"])


def test_who_connects_and_says_nothing_holds_up_nobody(open_reception: OpenReception, hospital: Hospital) -> None:
    reception = open_reception(tls=hospital.section(), acse_timeout_seconds=30)
    silent = [socket.create_connection(("127.0.0.1", reception.port), 10) for _ in range(5)]
    half = socket.create_connection(("127.0.0.1", reception.port), 10)
    half.sendall(b"\x16\x03\x01")  # half a handshake
    try:
        assert _call(reception, hospital.client(hospital.peer))
    finally:
        for connection in (*silent, half):
            connection.close()


def test_the_contexts_have_the_suites_of_the_profile_and_no_other(hospital: Hospital) -> None:
    server = tls.server_context(hospital.section())
    assert server is not None
    client = tls.client_tls(DestinationTls(ca=hospital.ca), "archive", "tls").context
    for context in (server, client):
        suites = {each["name"] for each in context.get_ciphers()}
        assert {name for name in suites if not name.startswith("TLS_")} == set(tls.CIPHERS_TLS_1_2)
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert client.verify_mode is ssl.CERT_REQUIRED
    assert client.check_hostname


@pytest.mark.parametrize(
    ("section", "mentioned"),
    [
        ({"certificate": "none.pem", "verify_clients": "off"}, "cannot be read: No such file"),
        ({"certificate": "peer.key", "verify_clients": "off"}, "no PEM certificate"),
        ({"certificate": "node.pem", "key": "peer.key", "verify_clients": "off"}, "KEY_VALUES_MISMATCH"),
        ({"certificate": "node.pem", "key": "node.key", "ca": "node.key"}, "holds no PEM certificate"),
    ],
)
def test_files_that_cannot_be_used_are_named(hospital: Hospital, section: dict[str, str], mentioned: str) -> None:
    paths = {key: hospital.ca.parent / value for key, value in section.items() if key != "verify_clients"}
    with pytest.raises(ConfigError, match=mentioned):
        tls.server_context(TlsSection.model_validate(section | paths))


def test_our_own_node_is_called_with_its_own_certificate(open_reception: OpenReception, hospital: Hospital) -> None:
    section = hospital.section()
    own = ApplicationEntity("CTIQA", "127.0.0.1", open_reception(tls=section).port)
    assert echo(own, "CTIQA", 20, tls.own_node_tls(section)) is None


@pytest.fixture
def archive() -> Any:
    made = Archive()
    yield made
    made.stop()


def _towards(hospital: Hospital, port: int, **settings: Any) -> str | None:
    """What C-ECHO with an archive of 127.0.0.1 comes to, when called over TLS with these settings."""
    settings = {"ca": hospital.ca, **settings}
    secured = tls.client_tls(DestinationTls.model_validate(settings), "127.0.0.1", "destinations pacs: tls")
    return echo(ApplicationEntity("ARCHIVE", "127.0.0.1", port), "CTIQA", 20, secured)


def test_results_go_to_an_archive_over_tls(archive: Archive, hospital: Hospital, tmp_path: Path) -> None:
    archive.tls = hospital.server(wants_certificates=True)
    archive.start()
    who = hospital.peer
    settings = DestinationTls(ca=hospital.ca, certificate=who.certificate, key=who.key)
    secured = tls.client_tls(settings, "127.0.0.1", "destinations pacs: tls")
    paths = ct_files(tmp_path / "ct", 2)
    peer = ApplicationEntity("ARCHIVE", "127.0.0.1", archive.port)
    assert [answer.ok for answer in send(peer, "CTIQA", paths, 20, secured)] == [True, True]
    assert len(archive.kept) == 2


def test_what_is_wrong_with_tls_towards_an_archive_is_told_in_words(archive: Archive, hospital: Hospital) -> None:
    archive.tls = hospital.server()
    port = archive.start().port
    assert _towards(hospital, port) is None
    assert "shows a certificate that is not accepted: " in str(_towards(hospital, port, ca=hospital.stranger_ca))
    assert "Hostname mismatch" in str(_towards(hospital, port, server_name="pacs.example.org"))
    assert _towards(hospital, port, server_name="pacs.example.org", check_host_name=False) is None
    plainly = echo(ApplicationEntity("ARCHIVE", "127.0.0.1", port), "CTIQA", 20)
    assert str(plainly).endswith("speaks TLS on this port, and is called without (destinations[].tls)")


def test_an_archive_that_wants_a_certificate_is_told_apart(archive: Archive, hospital: Hospital) -> None:
    archive.tls = hospital.server(wants_certificates=True)
    assert "wants a client certificate from us" in str(_towards(hospital, archive.start().port))


def test_an_archive_without_tls_is_told_apart(archive: Archive, hospital: Hospital) -> None:
    assert str(_towards(hospital, archive.start().port)).endswith("speaks no TLS on this port")


def test_an_archive_that_is_not_there_is_told_apart(hospital: Hospital) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert "nobody listens there" in str(_towards(hospital, port))
    nobody = ApplicationEntity("ARCHIVE", "no-such-host.invalid", 104)
    assert "cannot be reached" in str(echo(nobody, "CTIQA", 2))
