"""Reception: 300 CT slices from dcmtk's storescu, to our node and to what it is measured against.

python benchmarks/measure_reception.py [--slices 300] [--associations 1,4,16] [--rounds 5]
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from bench.busy import BusyWorker
from bench.figures import Line, Measured, at_least, at_most, compared, counted
from bench.receivers import Receiver, bare_handler, orthanc, our_node, storescp
from bench.running import Options, numbers, run
from bench.sending import storescu
from bench.slices import REFORMAT, SlicesOnDisk, write_slices
from bench.timing import Case, alternate, resident_mib, say

TITLE = "Reception: CT slices of 512 × 512, 16 bit, uncompressed, sent by storescu"
AGAINST_BARE = {1: 0.7, 4: 0.8, 16: 0.8}
AGAINST_ORTHANC = 8.0
BESIDE_THE_WORKER = 0.8
MIB_PER_1000 = 1.0
SETTLING_INSTANCES = 600
"""Before the growth of memory is looked at: a process gets its buffers and caches with its first work."""
LOOKS = 10
NAMES = {"bare": "bare handler", "ours": "ours", "storescp": "storescp", "orthanc": "Orthanc"}


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--slices", type=int, default=300, help="slices that are sent at a time")
    parser.add_argument("--associations", type=numbers, default=(1, 4, 16), help="how many at once, in turn")
    parser.add_argument("--busy-associations", type=numbers, default=(1, 4), help="the same, beside the worker")
    parser.add_argument("--assessed", type=int, default=100, help="slices of the series that the worker has in work")
    parser.add_argument("--instances", type=int, default=3000, help="that are sent to see memory grow")


def measure(options: Options) -> tuple[Sequence[Line], Sequence[str]]:
    """All receivers by turns, first one association, then several; then ours beside its worker, and its memory."""
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        bench = Bench(options, Path(folder))
        lines: list[Line] = []
        for associations in options.own.associations:
            say(f"{associations} associations")
            lines += bench.receivers(associations)
        say("beside the worker")
        lines += bench.beside_the_worker(options.own.busy_associations)
        say("memory")
        lines += bench.memory()
        return lines, bench.notes()


@dataclass(frozen=True, slots=True)
class Bench:
    """The parts of this benchmark, with the slices that they send."""

    options: Options
    folder: Path

    @contextmanager
    def slices(self, count: int) -> Iterator[SlicesOnDisk]:
        """Slices that our node keeps and does not assess."""
        folder = self.folder / "slices"
        yield write_slices(folder, count, self.options.scratch, REFORMAT)
        shutil.rmtree(folder)

    def receivers(self, associations: int) -> list[Line]:
        """All receivers, idle, and how often anything was refused or lost."""
        with self.slices(self.options.own.slices) as slices, ExitStack() as running:
            start = running.enter_context
            there: dict[str, Receiver] = {
                "bare": start(bare_handler(self.folder / "bare")),
                "ours": start(our_node(self.folder / "ours", series={"quiet_seconds": 600})),
                "storescp": start(storescp(self.folder / "storescp")),
                "orthanc": start(orthanc(self.folder / "orthanc")),
            }
            failed = dict.fromkeys(there, 0)
            cases: dict[str, Case] = {
                name: partial(_send, slices, receiver, associations, failed, name) for name, receiver in there.items()
            }
            if associations == 1:
                cases |= {
                    "disk": partial(_write_and_sync, slices, self.folder / "disk"),
                    "loopback": partial(_copy_over_loopback, slices),
                }
            times = alternate(cases, self.options.rounds, before_each=partial(_prepare, slices))
            sent = len(slices) * (self.options.rounds + 1)
            missing = {name: sent - receiver.kept() for name, receiver in there.items()}
        for name in there:
            shutil.rmtree(self.folder / name)
        rates = {name: time.per_second(len(slices), "slices/s") for name, time in times.items()}
        return [*_rate_lines(rates, associations), *_losses(failed, missing, associations)]

    def beside_the_worker(self, numbers_of_associations: Sequence[int]) -> list[Line]:
        """Our node, with nothing else to do and while its worker has a series in work."""
        own = self.options.own
        with (
            self.slices(own.slices) as slices,
            our_node(self.folder / "busy", series={"quiet_seconds": 1}) as node,
        ):
            worker = BusyWorker(node, write_slices(self.folder / "assessed", own.assessed, self.options.scratch))
            cases: dict[str, Case] = {}
            before: dict[str, Case] = {}
            failed = {"ours": 0}
            for number in numbers_of_associations:
                send = partial(_send, slices, node, number, failed, "ours")
                cases |= {f"idle {number}": send, f"busy {number}": partial(worker.must_stay_at_work, send)}
                before |= {f"idle {number}": worker.rest, f"busy {number}": worker.get_to_work}
            times = alternate(cases, self.options.rounds, before_each=partial(_prepare, slices), before=before)
            assert not failed["ours"], "a sender failed"
        rates = {name: time.per_second(own.slices, "slices/s") for name, time in times.items()}
        lines = []
        for number in numbers_of_associations:
            idle = compared(f"ours, worker idle, {_associations(number)}", rates[f"idle {number}"])
            target = at_least(BESIDE_THE_WORKER)
            busy = compared(f"ours, while assessing, {_associations(number)}", rates[f"busy {number}"], idle, target)
            lines += [idle, busy]
        return lines

    def memory(self) -> list[Line]:
        """How much the receiver's memory grows while thousands of instances come."""
        own = self.options.own
        batch = max(1, own.instances // LOOKS)
        with (
            self.slices(batch) as slices,
            our_node(self.folder / "memory", series={"quiet_seconds": 600}) as node,
        ):
            sent, looks = 0, []
            while sent < SETTLING_INSTANCES + own.instances:
                slices.renew()
                assert storescu(slices.paths, node.peer, max(own.associations)) == 0, "a sender failed"
                sent += batch
                if sent >= SETTLING_INSTANCES:
                    looks.append((sent, resident_mib(node.process)))
        shutil.rmtree(self.folder / "memory")
        instances, mib = np.array(looks).T
        growth = float(np.polyfit(instances / 1000, mib, 1)[0])
        return [
            counted(
                "memory of the receiver, growth per 1,000 instances", growth, "MiB", at_most(MIB_PER_1000, "value"),
                f"from {instances[0]:.0f} to {instances[-1]:.0f} instances, {_associations(max(own.associations))}",
            ),
            counted("memory of the receiver, at the end", float(mib[-1]), "MiB"),
        ]  # fmt: skip

    def notes(self) -> list[str]:
        """What has to be known to read the table."""
        own = self.options.own
        return [
            f"{own.slices} slices at a time, a new series each time, from the start of the first storescu to the end "
            "of the last: one process for each association. What was written before is synced first.",
            "The bare handler is pynetdicom with a handler that writes the file, syncs it and answers; it keeps no "
            "books. It asks for PDUs as long as ours. Our node also syncs the folder and commits the row before it "
            "answers.",
            "Over one association storescp and Orthanc wait for the kernel's delayed acknowledgements (40 ms an "
            "instance), as storescu sends by default.",
        ]


def _prepare(slices: SlicesOnDisk) -> None:
    slices.renew()
    os.sync()  # what others have not synced shall not fall on who comes next


def _send(slices: SlicesOnDisk, receiver: Receiver, associations: int, failed: dict[str, int], name: str) -> None:
    failed[name] += storescu(slices.paths, receiver.peer, associations)


def _write_and_sync(slices: SlicesOnDisk, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for path in slices.paths:
        with (folder / path.name).open("wb", buffering=0) as file:
            file.write(path.read_bytes())
            os.fsync(file.fileno())


def _copy_over_loopback(slices: SlicesOnDisk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        sender = threading.Thread(target=_send_raw, args=(slices, server.getsockname()))
        sender.start()
        connection, _ = server.accept()
        buffer = bytearray(1 << 18)
        with connection:
            while connection.recv_into(buffer):
                pass
        sender.join()


def _send_raw(slices: SlicesOnDisk, address: tuple[str, int]) -> None:
    with socket.create_connection(address) as connection:
        for path in slices.paths:
            connection.sendall(path.read_bytes())


def _rate_lines(rates: dict[str, Measured], associations: int) -> list[Line]:
    over = _associations(associations)
    lines = []
    if "disk" in rates:
        lines += [
            compared("limit: the same files written and synced", rates["disk"]),
            compared("limit: the same bytes over the loopback", rates["loopback"]),
        ]
    bare = compared(f"{NAMES['bare']}, {over}", rates["bare"])
    least = AGAINST_BARE.get(associations)
    lines += [bare, compared(f"ours, {over}", rates["ours"], bare, None if least is None else at_least(least))]
    for name in ("storescp", "orthanc"):
        lines.append(compared(f"{NAMES[name]}, {over}", rates[name], bare))
    target = at_least(AGAINST_ORTHANC) if associations == 1 else None
    lines.append(compared(f"ours, {over}, against Orthanc", rates["ours"], lines[-1], target))
    return lines


def _losses(failed: dict[str, int], missing: dict[str, int], associations: int) -> list[Line]:
    """Senders that failed, and instances that are not there."""
    over, none = _associations(associations), at_most(0, "value")
    return [
        counted(f"ours, {over}: senders that failed", failed["ours"], "", none),
        counted(f"ours, {over}: instances that are missing", missing["ours"], "", none),
        *(
            counted(f"{NAMES[name]}, {over}: senders that failed", count, "")
            for name, count in failed.items()
            if count and name != "ours"
        ),
    ]


def _associations(number: int) -> str:
    return f"{number} association{'' if number == 1 else 's'}"


if __name__ == "__main__":
    run("reception", TITLE, measure, add_options=add_options)
