"""Doctor on certificates: how long they are good for, and what to do before it is too late."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cli_state import Ran, Run

from ctiqa_node.db.columns import now
from ctiqa_node.dimse import inspection
from ctiqa_node.dimse.inspection import Inspection
from support.certificates import Identity, issue_until

Findings = Callable[..., list[tuple[str, str]]]


@pytest.fixture
def findings(run: Run, tmp_path: Path) -> Findings:
    """findings(node's certificate, its authorities): what doctor says of certificates, each with its mark."""

    def look(own: Identity | None, ca: Path | None = None, destination: str = "") -> list[tuple[str, str]]:
        tls = f"tls: {{certificate: {own.certificate}, key: {own.key}, ca: {ca}}}" if own else ""
        path = tmp_path / "doctor.yaml"
        path.write_text(
            f"node: {{state_dir: {tmp_path / 'state'}, port: 0}}\nspool: {{min_free_mib: 1}}\npeers: any\n{tls}\n"
            f"destinations: [{destination}]\n"
        )
        ran: Ran = run("doctor", "--quick", "--json", config=path)
        area = "to pacs" if destination and not own else "certificates"
        return [(each["mark"], each["what"]) for each in ran.json["findings"] if each["area"] == area]

    return look


@pytest.mark.parametrize(
    ("days", "mark", "words"),
    [
        (90.5, "ok", "tls.certificate is good for 90 days, until "),
        (12.5, "note", "tls.certificate expires in 12 days, on "),
        (-3.5, "failed", "tls.certificate expired 4 days ago, on "),
    ],
)
def test_how_long_our_certificate_is_good_for(
    findings: Findings, tmp_path: Path, days: float, mark: str, words: str
) -> None:
    own = issue_until(tmp_path, "node", now() + timedelta(days=days), now() - timedelta(days=30))
    (ours, authority) = findings(own, tmp_path / "node-ca.pem")
    assert ours[0] == mark
    assert ours[1].startswith(words)
    assert authority[0] == "ok"
    assert authority[1].startswith("tls.ca is good for ")


def test_a_certificate_that_is_not_valid_yet_is_told(findings: Findings, tmp_path: Path) -> None:
    own = issue_until(tmp_path, "node", now() + timedelta(days=90), now() + timedelta(days=2))
    (ours, _) = findings(own, tmp_path / "node-ca.pem")
    assert ours[0] == "failed"
    assert "is not valid before" in ours[1]


def test_an_authority_that_has_expired_counts_only_when_no_other_is_left(findings: Findings, tmp_path: Path) -> None:
    own = issue_until(tmp_path, "node", now() + timedelta(days=90))
    old = issue_until(tmp_path, "old", now() - timedelta(days=1), now() - timedelta(days=9)).certificate
    both = tmp_path / "both.pem"
    both.write_bytes(old.read_bytes() + (tmp_path / "node-ca.pem").read_bytes())
    assert findings(own, old)[1][0] == "failed"
    assert findings(own, both)[1] == ("note", "1 of the 2 authorities in tls.ca have expired")


def test_what_we_show_a_destination_is_looked_at(findings: Findings, tmp_path: Path) -> None:
    ours = issue_until(tmp_path, "client", now() + timedelta(days=5))
    tls = f"{{ca: {tmp_path / 'client-ca.pem'}, certificate: {ours.certificate}, key: {ours.key}}}"
    own = issue_until(tmp_path, "node", now() + timedelta(days=90))
    told = findings(own, tmp_path / "node-ca.pem", f"{{name: pacs, ae_title: P, host: 127.0.0.1, port: 9, tls: {tls}}}")
    assert [mark for mark, _ in told] == ["ok", "ok", "note", "ok"]
    assert told[2][1].startswith("destinations pacs: tls.certificate expires in 5 days")


@pytest.mark.parametrize(("days", "told"), [(29.0, True), (31.0, False), (None, False)])
def test_a_certificate_of_an_archive_that_ends_soon_is_noted(
    findings: Findings, monkeypatch: pytest.MonkeyPatch, days: float | None, told: bool
) -> None:
    monkeypatch.setattr(inspection, "inspect", lambda *_: Inspection(None, "over TLS", days))
    found = findings(None, None, "{name: pacs, ae_title: PACS, host: 127.0.0.1, port: 9, objects: {sr: true}}")
    assert any("its certificate expires in 29 days" in what for mark, what in found if mark == "note") is told


def test_without_tls_there_is_nothing_to_tell(findings: Findings) -> None:
    assert findings(None) == []
