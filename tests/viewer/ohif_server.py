"""What a site puts before OHIF: a web server for its files that also leads to the archive's DICOMweb."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

CONFIGURATION = Path(__file__).with_name("app-config.js")
_DICOM_WEB = "/dicom-web/"
_PASSED_ON = ("accept", "host")  # without Host, the archive's own URLs would lead past this server


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *arguments: Any, archive: str, **settings: Any) -> None:
        self._archive = archive
        super().__init__(*arguments, **settings)

    def end_headers(self) -> None:
        # Without the two, browsers deny OHIF the memory that its threads share.
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the name is the base class's)
        """Say nothing."""

    def do_GET(self) -> None:
        if self.path.startswith(_DICOM_WEB):
            self._pass_on()
        elif self.path == "/app-config.js":
            self._answer(200, "text/javascript", CONFIGURATION.read_bytes())
        else:
            if not Path(self.translate_path(self.path)).is_file():
                self.path = "/index.html"  # a page of the viewer, whose router reads the address
            super().do_GET()

    def _pass_on(self) -> None:
        headers = {name: value for name, value in self.headers.items() if name.lower() in _PASSED_ON}
        request = urllib.request.Request(self._archive + self.path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                self._answer(answer.status, answer.headers.get("Content-Type", ""), answer.read())
        except urllib.error.HTTPError as error:
            self._answer(error.code, error.headers.get("Content-Type", ""), error.read())

    def _answer(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class OhifServer:
    """OHIF from a folder on a free port of the loopback address, before the archive at a URL."""

    def __init__(self, folder: Path, archive: str) -> None:
        def handler(*arguments: Any) -> _Handler:
            return _Handler(*arguments, archive=archive, directory=str(folder))

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> OhifServer:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
