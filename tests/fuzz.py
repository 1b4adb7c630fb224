"""`make fuzz`: send the running SCP inputs that no honest peer sends, until the number asked for; then count.

What it keeps of them is read as the worker would read it. Ends with exit code 1 when an honest peer is not served in
between, an error was not expected, an association is left behind, or memory grew. The last inputs are in the folder
that is named then, and the seed makes them again.
"""

from __future__ import annotations

import argparse
import copy
import gc
import logging
import resource
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter, deque
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import UID

from ctiqa_node.config import LoggingSection
from ctiqa_node.ct.loader import load_series
from ctiqa_node.db.states import AssociationOutcome
from ctiqa_node.errors import Rejected, RetryLater
from ctiqa_node.logs import configure_logging
from support.fuzz import COMPRESSED, Corpus, Input, send_input
from support.peers import store
from support.reception import Reception
from support.slices import ct_datasets, part10, peers_bytes
from support.waiting import eventually

SENDERS = 8
MOST_GROWTH_MIB = 64.0
WARM_UP = 2000
ROUND = 2000
"""After so many inputs an honest peer must be served, and what was kept is read and removed."""
MOST_HONEST_SECONDS = 20.0


class Unexpected(logging.Handler):
    """Counts what the node logs as errors: an exception that nobody expected is one."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.events: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith("ctiqa_node"):
            said = record.msg.get("event") if isinstance(record.msg, dict) else record.msg
            self.events[str(said)] += 1


def main() -> int:
    """Run; the exit code of `make fuzz`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    configure_logging(LoggingSection(level="error", format="json"))
    warnings.simplefilter("ignore")  # pydicom's, of values that are not what they should be
    unexpected = Unexpected()
    logging.getLogger().addHandler(unexpected)
    folder = Path(tempfile.mkdtemp(prefix="ctiqa-fuzz-"))
    say(f"seed {arguments.seed}, {arguments.inputs} inputs, {SENDERS} senders")
    with Reception(folder / "node", acse_timeout_seconds=2, network_timeout_seconds=2) as reception:
        faults = Run(reception, arguments.seed, folder).send(arguments.inputs)
        eventually(lambda: not reception.scp._ae.active_associations, 60)
        left = sum(row.outcome is AssociationOutcome.OPEN for row in reception.associations())
    if left:
        faults.append(f"{left} associations are still recorded as open")
    faults += [f"{count} × {event}" for event, count in unexpected.events.items()]
    for fault in faults:
        say(f"FAULT: {fault}; see {folder}")
    say("no crash, no hang, no leak" if not faults else f"{len(faults)} faults")
    return 1 if faults else 0


class Run:
    """One run against one reception."""

    def __init__(self, reception: Reception, seed: int, folder: Path) -> None:
        self._reception = reception
        self._folder = folder
        self._honest = ct_datasets(folder / "honest", 3)
        first = self._honest[0]
        compressed = {syntax: peers_bytes(part10(_compressed(first, syntax))) for syntax in COMPRESSED}
        self._corpus = Corpus(seed, peers_bytes(part10(first)), str(first.SOPInstanceUID), compressed)
        self._kinds: Counter[str] = Counter()
        self._latest: deque[Input] = deque(maxlen=SENDERS * 2)
        self._lock = threading.Lock()
        self._read = 0

    def send(self, count: int) -> list[str]:
        """Send so many inputs, and tell how it stands after each round; what was wrong."""
        self._send_until(min(WARM_UP, count))
        faults = self._look_after()
        began, before = time.monotonic(), resident_mib()
        while (done := self._kinds.total()) < count:
            self._send_until(min(done + ROUND, count))
            faults += self._look_after()
            growth, seconds = resident_mib() - before, time.monotonic() - began
            say(
                f"{self._kinds.total()} inputs in {seconds:.0f} s; {self._read} files kept and read; "
                f"memory {before:.0f} MiB at first, {before + growth:.0f} MiB now; faults: {len(faults)}"
            )
            if growth > MOST_GROWTH_MIB:
                return [*faults, f"memory grew by {growth:.0f} MiB"]
        say(f"{dict(self._kinds)}")
        return faults

    def _send_until(self, total: int) -> None:
        def work() -> None:
            while True:
                with self._lock:
                    if self._kinds.total() >= total:
                        return
                    what = self._corpus.next()
                    self._latest.append(what)
                    self._kinds[what.name] += len(what)
                sent = send_input(self._reception.port, what)
                with self._lock:
                    self._kinds[what.name] -= len(what) - sent

        senders = [threading.Thread(target=work) for _ in range(SENDERS)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()

    def _look_after(self) -> list[str]:
        """Whether an honest peer is served, and whether what was kept can be read or refused; and all is quiet then."""
        began = time.monotonic()
        answers = store(self._reception.port, self._honest)
        seconds = time.monotonic() - began
        faults = [] if answers == [0, 0, 0] else [f"an honest peer got {answers}"]
        if seconds > MOST_HONEST_SECONDS:
            faults.append(f"an honest peer waited {seconds:.0f} s")
        for path in self._reception.files():
            try:
                load_series([path])
            except (Rejected, RetryLater):
                pass
            except Exception as error:  # noqa: BLE001  # that is what is looked for
                faults.append(f"{path} cannot be read: {type(error).__name__}: {error}")
                path.rename(self._folder / path.name)
            self._read += 1
            path.unlink(missing_ok=True)  # or each round would read all of them again
        if faults:
            for number, what in enumerate(self._latest):
                (self._folder / f"{number:02d}-{what.name}.bin").write_bytes(what.first + b"".join(what.then))
        eventually(lambda: not self._reception.scp._ae.active_associations, 60)
        gc.collect()
        return faults


def _compressed(dataset: Dataset, syntax: UID) -> Dataset:
    made = copy.deepcopy(dataset)
    made.compress(syntax, generate_instance_uid=False)
    return made


def resident_mib() -> float:
    """Memory of this process, which the SCP is in."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / (1 << 20)


def say(text: str) -> None:
    """One line on standard output."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
