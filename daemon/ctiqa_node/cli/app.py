"""Puts the commands together, and turns an error of ours into one sentence and an exit code."""

from __future__ import annotations

import gc
from collections.abc import Iterator, MutableMapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_command

from ctiqa_node.cli.console import print_failure
from ctiqa_node.errors import ConfigError, CtiqaError, StateError

_MARKUP: Final = "rich"
FAILED = 1
UNUSABLE = 2


_MODULES = {
    "serve": "serve",
    "status": "status",
    "doctor": "doctor",
    "echo": "peers",
    "send": "peers",
    "assess": "assess",
    "results": "results",
    "queue": "queue",
    "why": "why",
    "reconcile": "reconcile",
    "purge": "purge",
    "audit": "audit",
    "model": "model",
    "train": "train",
    "evaluate": "evaluate",
    "calibrate": "calibrate",
    "config": "configuration",
    "db": "database",
    "version": "version",
}
"""The commands in the order of the help, and the module of each: it has a function of that name, or an `app`."""


class _OnDemand(MutableMapping[str, Any]):
    """The commands by their names; the module of one is imported when the command is wanted, as some take seconds."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = _command(name)
        return self._made[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._made[name] = command

    def __delitem__(self, name: str) -> None:
        del self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_MODULES)

    def __len__(self) -> int:
        return len(_MODULES)


def _command(name: str) -> Any:
    """A command, or a group of commands, as typer makes it below an app like ours."""
    module = import_module(f"ctiqa_node.cli.{_MODULES[name]}")
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
    alone = typer.Typer(rich_markup_mode=_MARKUP, add_completion=False)
    alone.callback()(lambda: None)
    if hasattr(module, "app"):
        alone.add_typer(module.app, name=name)
    else:
        alone.command(name)(getattr(module, name))
    group: Any = get_command(alone)
    return group.commands[name]


class Commands(TyperGroup):
    """The top-level group; the one place where errors end."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = _OnDemand()

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
    rich_markup_mode=_MARKUP,
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


def main() -> None:
    """Run the command line."""
    app(prog_name="ctiqa-node")
