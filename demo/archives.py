"""Archives to send results to, for the demonstration and the tests: Orthanc, or a Storage SCP that fills a folder."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from pynetdicom import AE, AllStoragePresentationContexts, evt

from ctiqa_node.dicom import ApplicationEntity

START_SECONDS = 30.0


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Archive(Protocol):
    """Something that takes results by C-STORE and can be asked for them."""

    name: str
    peer: ApplicationEntity

    def fetch(self, sop_instance_uid: str) -> bytes:
        """The DICOM file of one instance."""
        ...

    def __enter__(self) -> Archive: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def orthanc_program() -> str | None:
    """The path of Orthanc, which Debian installs where only root looks."""
    return shutil.which("Orthanc", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/local/sbin")


class Orthanc:
    """An Orthanc of our own on free ports of the loopback address, its storage in a folder of the caller's."""

    name = "Orthanc"

    def __init__(
        self, folder: Path, dicom_port: int | None = None, settings: Mapping[str, object] | None = None
    ) -> None:
        """`settings` are Orthanc's own, over those of the demonstration."""
        self._folder = folder
        self._http = free_port()
        self._settings = dict(settings or {})
        self.peer = ApplicationEntity("ORTHANC", "127.0.0.1", dicom_port or free_port())
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Orthanc:
        program = orthanc_program()
        if program is None:
            raise FileNotFoundError("Orthanc is not installed")
        self._folder.mkdir(parents=True, exist_ok=True)
        configuration = self._folder / "orthanc.json"
        configuration.write_text(json.dumps(self._configuration()))
        with (self._folder / "orthanc.log").open("ab") as log:
            self._process = subprocess.Popen([program, str(configuration)], stdout=log, stderr=log)
        self._wait()
        return self

    def _configuration(self) -> dict[str, object]:
        return {
            "Name": "demonstration",
            "StorageDirectory": str(self._folder / "storage"),
            "IndexDirectory": str(self._folder / "storage"),
            "DicomAet": self.peer.ae_title,
            "DicomPort": self.peer.port,
            "DicomCheckCalledAet": True,
            "DicomAlwaysAllowStore": True,
            "HttpPort": self._http,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "Plugins": [],
            **self._settings,
        }

    @property
    def url(self) -> str:
        """Where its REST interface and its explorer are."""
        return f"http://127.0.0.1:{self._http}"

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self._process is not None
            if self._process.poll() is not None:
                break
            try:
                self.ask("/system")
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
            else:
                return
        self.__exit__(None, None, None)
        raise TimeoutError(f"Orthanc did not start; see {self._folder / 'orthanc.log'}")

    def ask(self, path: str, query: dict[str, Any] | None = None) -> Any:
        """Orthanc's REST interface: GET, or POST where there is a query; the answer as JSON."""
        return json.loads(self._get(path, query))

    def _get(self, path: str, query: dict[str, Any] | None = None) -> bytes:
        body = None if query is None else json.dumps(query).encode()
        with urllib.request.urlopen(self.url + path, data=body, timeout=10) as answer:
            content: bytes = answer.read()
        return content

    def upload(self, content: bytes) -> dict[str, Any]:
        """Give it a DICOM file; what it says of the instance."""
        with urllib.request.urlopen(self.url + "/instances", data=content, timeout=10) as answer:
            made: dict[str, Any] = json.loads(answer.read())
        return made

    def delete(self, path: str) -> None:
        """Orthanc's REST interface: DELETE."""
        with urllib.request.urlopen(urllib.request.Request(self.url + path, method="DELETE"), timeout=10):
            pass

    def find(self, level: str, query: dict[str, str]) -> list[dict[str, Any]]:
        """Resources of a level (Study, Series, Instance) by their tags, expanded."""
        found: list[dict[str, Any]] = self.ask("/tools/find", {"Level": level, "Query": query, "Expand": True})
        return found

    def fetch(self, sop_instance_uid: str) -> bytes:
        """The DICOM file of one instance."""
        (instance,) = self.find("Instance", {"SOPInstanceUID": sop_instance_uid})
        return self._get(f"/instances/{instance['ID']}/file")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


class FolderArchive:
    """A Storage SCP that writes what it gets into a folder."""

    name = "a Storage SCP that fills a folder"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ae = AE(ae_title="ARCHIVE")
        self._ae.supported_contexts = AllStoragePresentationContexts
        self.peer = ApplicationEntity("ARCHIVE", "127.0.0.1", free_port())

    def __enter__(self) -> FolderArchive:
        self._folder.mkdir(parents=True, exist_ok=True)
        address = (self.peer.host, self.peer.port)
        self._ae.start_server(address, block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)])
        return self

    def _store(self, event: evt.Event) -> int:
        name = f"{event.dataset.SOPInstanceUID}.dcm"  # a demonstration that only our own node sends to
        (self._folder / name).write_bytes(event.encoded_dataset())
        return 0x0000

    def fetch(self, sop_instance_uid: str) -> bytes:
        """The DICOM file of one instance."""
        return (self._folder / f"{sop_instance_uid}.dcm").read_bytes()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ae.shutdown()
