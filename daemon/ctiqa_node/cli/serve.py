"""`serve`: run the node."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from ctiqa_node.cli.context import config_of
from ctiqa_node.logs import configure_logging


def serve(
    context: typer.Context,
    ae_title: Annotated[str | None, typer.Option(help="Our AE title, instead of node.ae_title.")] = None,
    address: Annotated[str | None, typer.Option(help="Address to listen on, instead of node.address.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on (0: a free one), instead of node.port.")] = None,
    state_dir: Annotated[
        Path | None, typer.Option(help="Folder of database, spool and outputs, instead of node.state_dir.")
    ] = None,
) -> None:
    """Run the node until SIGTERM or Ctrl-C; the log goes to standard error.

    What is being received is finished before it stops; what was in work is taken up again at the next start.

    \b
    Examples:
      ctiqa-node serve
      ctiqa-node --config /etc/ctiqa-node/config.yaml serve
      ctiqa-node serve --port 11113 --ae-title CTIQA_TEST --state-dir /tmp/ctiqa

    Exit codes: 0 stopped when asked to, 2 it could not start (configuration, port in use, another node).
    """
    overrides = {
        "ae_title": ae_title,
        "address": address,
        "port": port,
        "state_dir": state_dir and state_dir.absolute(),
    }
    # By way of the environment, which wins over the file: so they are checked like any setting, and reach the worker.
    os.environ.update(
        {f"CTIQA_NODE__{key.upper()}": str(value) for key, value in overrides.items() if value is not None}
    )
    from ctiqa_node.analysis import require_known
    from ctiqa_node.dimse import sop_classes, tls
    from ctiqa_node.node import Node  # brings pynetdicom, which most other commands do without

    config = config_of(context)
    require_known(config.worker.assessors)
    sop_classes.require_known(config.peers)
    tls.require_usable(config)
    configure_logging(config.logging)

    Node(config).run()
