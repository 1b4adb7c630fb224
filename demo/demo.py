"""`make demo`: a CT series goes in over DICOM, and its quality report arrives in an archive."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
import yaml
from archives import Archive, FolderArchive, Orthanc, orthanc_program
from PIL import Image
from pydicom import dcmread
from rich.console import Console

from ctiqa_models.simulation.series import Scan, simulate_series
from ctiqa_node.ct.writer import write_series
from ctiqa_node.report.text import as_text

OUT = Path(__file__).parent / "out"
NODE_SECONDS = 60.0
RESULT_SECONDS = 1800.0
SLICES, SIZE, DOSE_FRACTION = 40, 448, 0.06
SPOILT = {23: 0.35, 24: 0.2, 25: 0.35}
"""Slices that get only a share of that dose, for the report to find."""

console = Console()


def main() -> int:
    """Run the whole demonstration; the exit code of `make demo`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ct", type=Path, help="a folder of CT images of your own; otherwise a series is simulated")
    parser.add_argument("--out", type=Path, default=OUT, help="where the results go; what is there is removed")
    parser.add_argument("--archive", choices=("auto", "folder"), default="auto", help="auto: Orthanc where it is")
    arguments = parser.parse_args()
    given, out = arguments.ct, arguments.out
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    with ExitStack() as running:
        scratch = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="ctiqa-demo-")))
        series = given if given is not None else _simulate(scratch / "series")
        archive = running.enter_context(_archive(arguments.archive, scratch / "archive"))
        console.print(f"[bold]Archive[/]  {archive.name} listens as {archive.peer}")
        config = _write_config(scratch, archive)
        running.enter_context(_node(config, out / "node.log"))
        console.print(f"[bold]Node[/]     listens as CTIQA, its log is {out / 'node.log'}")
        _run(config, "send", str(series))
        results = _wait_for_results(config, out)
        written = _collect(results, archive, out)
        _run(config, "results")
        _run(config, "status", check=False)
    console.print("[bold]Written[/]")
    for path in written:
        console.print(f"  {path}")
    console.print("Everything that was started has been stopped. Research use only, not for diagnosis.")
    return 0


def _simulate(folder: Path) -> Path:
    torch.set_num_threads(1)  # faster than two for arrays of this size, and leaves a core to whatever else runs
    with console.status("Simulating a CT series: phantom, projection, quantum noise, reconstruction"):
        began = time.monotonic()
        volume = simulate_series(seed=7, slices=SLICES, size=SIZE, scan=_scan())
        write_series(volume.hu, volume.spacing_mm, folder)
    console.print(
        f"[bold]Series[/]   {SLICES} simulated slices of {SIZE}×{SIZE} at {DOSE_FRACTION:.0%} of the dose, "
        f"made in {time.monotonic() - began:.0f} s"
    )
    return folder


def _scan() -> Scan:
    return Scan(dose_fraction=DOSE_FRACTION, dose_factors=tuple(SPOILT.get(z, 1.0) for z in range(SLICES)))


def _archive(wanted: str, folder: Path) -> Archive:
    if wanted == "folder":
        return FolderArchive(folder)
    if orthanc_program() is None:
        console.print(
            "Orthanc is not installed (Debian: apt-get install orthanc); a small Storage SCP takes its place."
        )
        return FolderArchive(folder)
    return Orthanc(folder)


def _write_config(scratch: Path, archive: Archive) -> Path:
    peer = archive.peer
    path = scratch / "config.yaml"
    settings: dict[str, Any] = {
        "node": {"address": "127.0.0.1", "port": 0, "state_dir": str(scratch / "state")},
        "peers": "any",
        "series": {"quiet_seconds": 3},
        "destinations": [{"name": "archive", "ae_title": peer.ae_title, "host": peer.host, "port": peer.port}],
    }
    path.write_text(yaml.safe_dump(settings))
    return path


@contextmanager
def _node(config: Path, log_file: Path) -> Iterator[None]:
    with log_file.open("wb") as log:
        process = subprocess.Popen([*_command(config), "serve"], stderr=log, env=_environment())
    try:
        port = _wait_for_node(process, config, log_file)
        settings = yaml.safe_load(config.read_text())
        settings["node"]["port"] = port
        config.write_text(yaml.safe_dump(settings))
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def _wait_for_node(process: subprocess.Popen[bytes], config: Path, log_file: Path) -> int:
    """The port that the node found, once it and its worker are ready."""
    deadline = time.monotonic() + NODE_SECONDS
    with console.status("Starting the node"):
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise SystemExit(f"The node ended at once; see {log_file}")
            status = _ask(config, "status")
            if status["running_since"] is not None:
                return int(status["port"])
            time.sleep(0.3)
    raise SystemExit(f"The node did not start within {NODE_SECONDS:.0f} s; see {log_file}")


def _wait_for_results(config: Path, out: Path) -> list[dict[str, Any]]:
    """The results, once every series has come to its end."""
    deadline = time.monotonic() + RESULT_SECONDS
    with console.status("Waiting for the series to be quiet") as shown:
        while time.monotonic() < deadline:
            results: list[dict[str, Any]] = _ask(config, "results")
            if results and all(r["state"] in {"delivered", "undelivered", "skipped", "failed"} for r in results):
                return results
            shown.update(_progress(_ask(config, "status")))
            time.sleep(0.5)
    raise SystemExit(f"No result within {RESULT_SECONDS:.0f} s; see {out / 'node.log'}")


def _progress(status: dict[str, Any]) -> str:
    states = ", ".join(f"{count} {state}" for state, count in status["series"].items())
    share = status["worker"]["progress"]
    return f"Series: {states}" + (f"; assessed {share:.0%}" if share is not None else "")


def _collect(results: list[dict[str, Any]], archive: Archive, out: Path) -> list[Path]:
    """Fetch from the archive what the node sent there."""
    written = [out / "results.json"]
    written[0].write_text(json.dumps(results, indent=2))
    delivered = [result for result in results if result["state"] == "delivered"]
    if not delivered:
        reasons = "; ".join(f"{result['state']}: {result['reason']}" for result in results)
        raise SystemExit(f"No result arrived in the archive ({reasons}); see {out / 'node.log'}")
    for number, result in enumerate(delivered):
        prefix = "" if len(delivered) == 1 else f"series-{number + 1:02d}-"
        for output in result["outputs"]:
            written += _write_output(out, prefix, output["kind"], archive.fetch(output["sop_instance_uid"]))
    return [*written, out / "node.log"]


def _write_output(out: Path, prefix: str, kind: str, content: bytes) -> list[Path]:
    dataset = dcmread(BytesIO(content))
    as_dicom = out / f"{prefix}{'report' if kind == 'sr' else 'summary'}.dcm"
    as_dicom.write_bytes(content)
    if kind == "sr":
        readable = as_dicom.with_suffix(".txt")
        readable.write_text(as_text(dataset))
    else:
        readable = as_dicom.with_suffix(".png")
        Image.fromarray(dataset.pixel_array).save(readable)
    return [as_dicom, readable]


def _command(config: Path) -> list[str]:
    return [str(Path(sys.executable).with_name("ctiqa-node")), "--config", str(config)]


def _environment() -> dict[str, str]:
    """Ours, without settings of the user's that would win over the demonstration's."""
    return {key: value for key, value in os.environ.items() if not key.startswith("CTIQA_")}


def _ask(config: Path, what: str) -> Any:
    answer = subprocess.run(
        [*_command(config), what, "--json"], stdout=subprocess.PIPE, env=_environment(), check=False
    )
    return json.loads(answer.stdout)


def _run(config: Path, *words: str, check: bool = True) -> None:
    console.print(f"[dim]$ ctiqa-node {' '.join(words)}[/]")
    subprocess.run([*_command(config), *words], env=_environment(), check=check)


if __name__ == "__main__":
    sys.exit(main())
