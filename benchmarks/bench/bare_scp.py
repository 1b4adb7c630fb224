"""The reference of the benchmark of reception: pynetdicom with a handler that writes and syncs the file, and no more.

    python bare_scp.py FOLDER MAX_PDU_BYTES

Prints its port, and runs until its standard input is closed.
"""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path

from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.transport import AssociationServer


def main() -> None:
    folder, numbers = Path(sys.argv[1]), itertools.count()

    def store(event: evt.Event) -> int:
        path = folder / f"{next(numbers):06d}.dcm"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, event.encoded_dataset())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return 0x0000

    # Connections that wait to be accepted; of sixteen at once socketserver's five would let some wait for seconds.
    AssociationServer.request_queue_size = 128
    ae = AE(ae_title="BARE")
    ae.supported_contexts = AllStoragePresentationContexts
    ae.maximum_associations = 1000
    ae.maximum_pdu_size = int(sys.argv[2])
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    assert server is not None
    assert server.socket is not None
    print(server.socket.getsockname()[1], flush=True)
    sys.stdin.read()
    ae.shutdown()


if __name__ == "__main__":
    main()
