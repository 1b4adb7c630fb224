"""`make fuzz`: send the running SCP inputs that no honest peer sends, until the number asked for; then count.

Ends with exit code 1 when the SCP no longer answers, an association is left behind, or memory grew. The last inputs
are in the folder that is named then, and the seed makes them again.
"""

from __future__ import annotations

import argparse
import gc
import resource
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter, deque
from pathlib import Path

from ctiqa_node.config import LoggingSection
from ctiqa_node.db.states import AssociationOutcome
from ctiqa_node.logs import configure_logging
from support.fuzz import Corpus, Input, send_input
from support.peers import store
from support.reception import Reception
from support.slices import ct_datasets, part10, peers_bytes
from support.waiting import eventually

SENDERS = 8
MOST_GROWTH_MIB = 64.0
WARM_UP = 200


def main() -> int:
    """Run; the exit code of `make fuzz`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    configure_logging(LoggingSection(level="error", format="json"))
    warnings.simplefilter("ignore")  # pydicom's, of values that are not what they should be
    folder = Path(tempfile.mkdtemp(prefix="ctiqa-fuzz-"))
    honest = ct_datasets(folder / "honest", 3)
    corpus = Corpus(arguments.seed, peers_bytes(part10(honest[0])))
    say(f"seed {arguments.seed}, {arguments.inputs} inputs, {SENDERS} senders")
    with Reception(folder / "node", acse_timeout_seconds=5, network_timeout_seconds=5) as reception:
        send_all(reception.port, corpus, min(WARM_UP, arguments.inputs), folder)
        before = resident_mib()
        began = time.monotonic()
        kinds = send_all(reception.port, corpus, max(arguments.inputs - WARM_UP, 0), folder)
        seconds = time.monotonic() - began
        eventually(lambda: not reception.scp._ae.active_associations, 60)
        still_open = sum(row.outcome is AssociationOutcome.OPEN for row in reception.associations())
        alive = store(reception.port, honest) == [0, 0, 0]
        gc.collect()
        growth = resident_mib() - before
    say(f"{dict(kinds)} in {seconds:.0f} s; memory grew by {growth:.1f} MiB")
    say(f"answers: {alive}; still recorded as open: {still_open}")
    if alive and not still_open and growth < MOST_GROWTH_MIB:
        return 0
    say(f"see {folder}")
    return 1


def send_all(port: int, corpus: Corpus, count: int, folder: Path) -> Counter[str]:
    """Send so many inputs, several at once; how many of each kind."""
    kinds: Counter[str] = Counter()
    latest: deque[Input] = deque(maxlen=SENDERS * 2)
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                if kinds.total() >= count:
                    return
                what = corpus.next()
                kinds[what.name] += 1
                latest.append(what)
            send_input(port, what)

    senders = [threading.Thread(target=work) for _ in range(SENDERS)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    for number, what in enumerate(latest):
        (folder / f"{number:02d}-{what.name}.bin").write_bytes(what.first + what.then)
    return kinds


def resident_mib() -> float:
    """Memory of this process, which the SCP is in."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / (1 << 20)


def say(text: str) -> None:
    """One line on standard output."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
