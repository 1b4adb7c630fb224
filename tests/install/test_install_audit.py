"""`make audit`: what it finds is told, and where nobody can be asked it does not pass."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from audit import CLEAN, NOT_AUDITED, VULNERABLE, Answer, tell

AUDIT = Path(__file__).resolve().parents[2] / "supply" / "audit.py"
LOCK = "".join(f"{name}==1.2.3 --hash=sha256:{'0' * 64}\n" for name in ("sound", "broken"))
KNOWN = {
    "id": "PYSEC-0000-1", "modified": "2026-01-01T00:00:00Z", "summary": "a hole",
    "affected": [{
        "package": {"name": "broken", "ecosystem": "PyPI"},
        "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.2.4"}]}],
    }],
}  # fmt: skip

Answers = Callable[[str], dict[str, Any] | None]


@pytest.fixture
def osv() -> Iterator[Callable[[Answers], str]]:
    """osv(answers): a database on this machine, which answers about a package as `answers` does; None: with 500."""
    servers: list[HTTPServer] = []

    def serve(answers: Answers) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                answer = answers(asked["package"]["name"])
                content = json.dumps(answer or {}).encode()
                self.send_response(500 if answer is None else 200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/v1/query"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def _audit(tmp_path: Path, url: str) -> tuple[int, str]:
    lock = tmp_path / "lock.txt"
    lock.write_text(LOCK)
    done = subprocess.run(
        [sys.executable, str(AUDIT), "--lock", str(lock), "--only-osv", "--osv-url", url],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_a_known_vulnerability_is_told_with_its_mend(osv: Callable[[Answers], str], tmp_path: Path) -> None:
    code, said = _audit(tmp_path, osv(lambda name: {"vulns": [KNOWN]} if name == "broken" else {}))
    assert code == VULNERABLE
    assert "broken 1.2.3: PYSEC-0000-1, mended in 1.2.4" in said


def test_nothing_known_is_a_pass_that_says_how_much_was_looked_up(
    osv: Callable[[Answers], str], tmp_path: Path
) -> None:
    assert _audit(tmp_path, osv(lambda _: {})) == (CLEAN, "2 packages looked up in OSV: no known vulnerability.\n")


@pytest.mark.parametrize("broken", ["unreachable", "failing"])
def test_a_database_that_cannot_be_asked_is_no_pass(osv: Callable[[Answers], str], tmp_path: Path, broken: str) -> None:
    url = "http://127.0.0.1:9/v1/query" if broken == "unreachable" else osv(lambda _: None)
    code, said = _audit(tmp_path, url)
    assert code == NOT_AUDITED
    assert "OSV could not be asked: " in said
    assert "NOT AUDITED" in said


def test_a_database_that_knows_only_some_packages_is_no_pass(capsys: pytest.CaptureFixture[str]) -> None:
    # What a mirror of PyPI without vulnerabilities answers: 404, which pip-audit alone takes for a pass.
    assert tell([Answer("PyPI", looked_up=100, missing=("torch",))]) == NOT_AUDITED
    assert "not about 1: torch" in capsys.readouterr().out
    assert tell([Answer("PyPI")]) == NOT_AUDITED


def test_the_second_database_counts_when_the_first_cannot_be_asked() -> None:
    assert tell([Answer("PyPI", trouble="no route"), Answer("OSV", looked_up=3)]) == CLEAN
    assert (
        tell([Answer("PyPI", looked_up=2, missing=("torch",), found=("x",)), Answer("OSV", trouble="?")]) == VULNERABLE
    )
