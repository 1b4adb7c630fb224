"""`model`: weights that the site brings itself: imported ones, and ones that it trained."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic import BaseModel

from ctiqa_node.cli import console
from ctiqa_node.cli.console import AsJson
from ctiqa_node.cli.context import config_of, note_command, readable_state
from ctiqa_node.db.columns import now
from ctiqa_node.errors import CtiqaError
from ctiqa_node.state import StateFolder

_LABEL = r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}"

app = typer.Typer(no_args_is_help=True)


class ImportedModel(BaseModel):
    """Weights that were imported, and where they came from."""

    model: str
    """The name for `worker.assessors`."""
    label: str
    architecture: str
    source_file: str
    source_sha256: str
    installed_at: str
    sha256: str
    trained_on: str


@app.callback()
def group() -> None:
    """Bring weights of your own, see which there are, and take them away."""


@app.command(name="import")
def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A state dict (.pt, .pth) or safetensors.")],
    kind: Annotated[
        Literal["tfkt-v2", "n2q", "trained"],
        typer.Option("--as", help="Who wrote it: the public code of TFKT V2, N2Q's notebook, or `ctiqa-node train`."),
    ],
    name: Annotated[
        str | None, typer.Option("--name", help="What results call these weights. Default: made of their SHA-256.")
    ] = None,
) -> None:
    """Import a checkpoint of the public code of TFKT V2 or N2Q, or weights that `train` wrote.

    The file is read without running anything in it, compared name by name with the network, tried, and written to the
    folder models of the state folder, in place of what was there. A checkpoint becomes a model of its own, to be named
    in worker.assessors; trained weights take the place of those that ship, until `model rm`. Restart the node then.

    \b
    Examples:
      ctiqa-node model import best_model.pth --as tfkt-v2
      ctiqa-node model import n2q.pth --as n2q --name mayo-2022
      ctiqa-node model import training-n2q/n2q.safetensors --as trained --name our-ct-2026

    Exit codes: 0 imported, 1 the file is refused, 2 wrong usage.
    """
    _require_label(name)
    from ctiqa_node.analysis import import_model, install_trained  # brings torch: seconds, and only here

    config = config_of(context)
    folder = StateFolder(config.node.state_dir)
    folder.create()
    note_command(config, "model import")
    try:
        if kind == "trained":
            made = install_trained(file, folder.models, now(), name)
        else:
            made = import_model(file, kind, folder.models, now(), name)
    except OSError as error:
        raise CtiqaError(f"{error.filename or file}: {error.strerror or error}.") from error
    console.say(f"{file.name} is imported as {made.model}, called {made.label}.")
    console.say(f"Its SHA-256 is {made.source_sha256}; that of the weights in {folder.models} is {made.sha256}.")
    if kind == "trained":
        console.say(f"They were trained on: {made.trained_on}.")
        console.say(
            f"They are used in place of those that ship once the node is restarted; model rm {made.model} ends it."
        )
    else:
        console.say(f"To use it, put {made.model} into worker.assessors and restart the node.")


@app.command()
def rm(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model, as `model ls` names it.")],
) -> None:
    """Take imported or trained weights away; a model that ships with weights goes back to those.

    \b
    Examples:
      ctiqa-node model rm n2q

    Exit codes: 0 removed, 1 there is nothing to remove.
    """
    from ctiqa_node.analysis import remove_model

    config = config_of(context)
    note_command(config, "model rm")
    with readable_state(config):
        try:
            ships = remove_model(StateFolder(config.node.state_dir).models, model)
        except OSError as error:
            raise CtiqaError(f"{error.filename}: {error.strerror or error}.") from error
    then = "those that ship are used again" if ships else "it cannot be used until others are imported"
    console.say(f"The weights of {model} are removed; once the node is restarted, {then}.")


@app.command()
def ls(context: typer.Context, as_json: AsJson = False) -> None:
    """List the weights that were imported or trained here.

    \b
    Examples:
      ctiqa-node model ls
      ctiqa-node model ls --json
    """
    from ctiqa_node.analysis import installed_models

    config = config_of(context)
    with readable_state(config):
        found = [
            ImportedModel.model_validate(model, from_attributes=True)
            for model in installed_models(StateFolder(config.node.state_dir).models)
        ]
    if as_json:
        console.print_json(found)
    elif found:
        table = console.table(None, "Model", "Called", "Written by", "Imported from", "Imported", "Weights")
        for one in found:
            imported = one.installed_at.replace("T", " ")[:19]
            writer = "this site's training" if one.architecture == one.model else one.architecture
            console.row(table, one.model, one.label, writer, one.source_file, imported, one.sha256[:12])
        console.out().print(table)
    else:
        console.say("No weights were imported. `ctiqa-node model import` does so.")


def _require_label(name: str | None) -> None:
    if name is not None and not re.fullmatch(_LABEL, name):
        raise typer.BadParameter(
            "1 to 32 letters, digits, '.', '_' or '-', the first a letter or digit", param_hint="--name"
        )
