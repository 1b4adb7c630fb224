"""`config check`: is the configuration usable, and what does it come to?"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from pydantic import BaseModel

from ctiqa_node.cli import console
from ctiqa_node.cli.console import AsJson
from ctiqa_node.cli.context import config_of, named_file
from ctiqa_node.config import LISTS, Config, find_config, keys

app = typer.Typer(no_args_is_help=True, help="Look after the configuration.")


@app.callback()
def group() -> None:
    """Look after the configuration."""


class Setting(BaseModel):
    """One setting as it holds."""

    key: str
    value: Any
    is_default: bool


class CheckedConfig(BaseModel):
    """Where the configuration was read from, and what holds."""

    source: str
    settings: list[Setting]


@app.command()
def check(
    context: typer.Context,
    as_json: AsJson = False,
    changed: Annotated[bool, typer.Option("--changed", help="Only what differs from the defaults.")] = False,
) -> None:
    """Check the configuration and show what holds: environment (CTIQA_SECTION__KEY) over file over default.

    \b
    Examples:
      ctiqa-node config check
      ctiqa-node --config /tmp/new.yaml config check --changed

    Exit codes: 0 it can be used, 2 it cannot; each key that is wrong is named with what is allowed.
    """
    from ctiqa_node.analysis import require_known  # these two bring pydicom, which no other command here needs
    from ctiqa_node.dimse import sop_classes, tls

    config = config_of(context)
    require_known(config.worker.assessors)
    sop_classes.require_known(config.peers)
    tls.require_usable(config)
    source = find_config(named_file(context))
    settings = [setting for setting in _settings(config) if not (changed and setting.is_default)]
    checked = CheckedConfig(source=str(source) if source else "built-in defaults", settings=settings)
    if as_json:
        console.print_json(checked)
        return
    table = console.table(None, "Setting", "Value", "")
    for setting in settings:
        console.row(table, setting.key, _shown(setting.value), "" if setting.is_default else "changed")
    out = console.out()
    console.say(f"The configuration can be used. Read from: {checked.source}, and the environment.")
    out.print(table if settings else "Every setting has its default.")


def _settings(config: Config) -> list[Setting]:
    values = config.model_dump(mode="json")
    found = []
    for path, default in keys():
        section, key = path.split(".")
        if not section.endswith("[]"):
            is_default = getattr(getattr(config, section), key) == default
            found.append(Setting(key=path, value=values[section][key], is_default=is_default))
    for name, entry_type in LISTS.items():
        for index, entry in enumerate(getattr(config, name)):
            for key, field in entry_type.model_fields.items():
                value = getattr(entry, key)
                is_default = not field.is_required() and value == field.default
                shown = value.model_dump(exclude_none=True) if isinstance(value, BaseModel) else value
                found.append(Setting(key=f"{name}[{index}].{key}", value=shown, is_default=is_default))
    return found


def _shown(value: object) -> str:
    if value is None:
        return "(not set)"
    if isinstance(value, dict):
        value = [f"{key}: {str(switch).lower()}" for key, switch in value.items()]
    return ", ".join(map(str, value)) or "(none)" if isinstance(value, list | tuple) else str(value)
