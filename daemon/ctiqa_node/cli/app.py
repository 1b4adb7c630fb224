"""Puts the commands together, and turns an error of ours into one sentence and an exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ctiqa_node.cli import (
    assess,
    audit,
    calibrate,
    configuration,
    database,
    doctor,
    evaluate,
    model,
    peers,
    purge,
    queue,
    reconcile,
    results,
    serve,
    status,
    train,
    version,
    why,
)
from ctiqa_node.cli.console import print_failure
from ctiqa_node.errors import ConfigError, CtiqaError, StateError

FAILED = 1
UNUSABLE = 2


class Commands(TyperGroup):
    """The top-level group; the one place where errors end."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; a `CtiqaError` becomes its sentence on standard error and exit code 1 or 2."""
        try:
            return super().invoke(ctx)
        except CtiqaError as error:
            print_failure(str(error))
            raise typer.Exit(UNUSABLE if isinstance(error, ConfigError | StateError) else FAILED) from error


app = typer.Typer(
    cls=Commands,
    name="ctiqa-node",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,  # locals may hold patient data
)


@app.callback()
def root(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The configuration to use. Default: $CTIQA_CONFIG, then /etc/ctiqa-node/config.yaml, then built-in.",
        ),
    ] = None,
) -> None:
    """Receives CT series over DICOM, assesses their image quality and sends a report back. Research use only.

    \b
    A first look, with nothing configured:
      CTIQA_PEERS=any ctiqa-node serve     run the node, for anyone who sends
      ctiqa-node echo                      does it answer?
      ctiqa-node send /data/chest-ct       send it a series
      ctiqa-node status                    how does it fare?
      ctiqa-node doctor                    is everything as it should be?
      ctiqa-node results                   what did it find?
      ctiqa-node why 20260102-0042         what happened to this one?

    Exit codes: 0 done, 1 the answer is no or something failed, 2 wrong usage or configuration, or no usable state.
    """
    context.obj = config


app.command()(serve.serve)
app.command()(status.status)
app.command()(doctor.doctor)
app.command()(peers.echo)
app.command()(peers.send)
app.command()(assess.assess)
app.command()(results.results)
app.add_typer(queue.app, name="queue")
app.command()(why.why)
app.command()(reconcile.reconcile)
app.command()(purge.purge)
app.command()(audit.audit)
app.add_typer(model.app, name="model")
app.command()(train.train)
app.command()(evaluate.evaluate)
app.command()(calibrate.calibrate)
app.add_typer(configuration.app, name="config")
app.add_typer(database.app, name="db")
app.command()(version.version)


def main() -> None:
    """Run the command line."""
    app(prog_name="ctiqa-node")
