"""The configuration: one pydantic model; a YAML file and environment variables over it. `config.yaml` restates it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from ctiqa_node.destination_settings import CommitmentSection, CompletenessSection, Entity
from ctiqa_node.destination_settings import DeliverySection as DeliverySection
from ctiqa_node.destination_settings import Destination as Destination
from ctiqa_node.destination_settings import ObjectSwitches as ObjectSwitches
from ctiqa_node.errors import ConfigError
from ctiqa_node.network_settings import AeTitle, DestinationTls, Peer, Peers, Seconds, TlsSection
from ctiqa_node.network_settings import Section as _Section

SYSTEM_CONFIG = Path("/etc/ctiqa-node/config.yaml")
CONFIG_VARIABLE = "CTIQA_CONFIG"
NOT_SETTINGS = frozenset({CONFIG_VARIABLE, "CTIQA_DATA"})
"""Variables of ours that say where something is; the tests read the second."""


ListeningPort = Annotated[int, Field(ge=0, le=65535)]
AssessorName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
SeriesNumber = Annotated[int, Field(ge=1, le=2**31 - 1)]


def default_state_dir() -> Path:
    """Where the state lives: systemd's StateDirectory, else /var/lib for root, else the user's own state folder."""
    if assigned := os.environ.get("STATE_DIRECTORY"):
        return Path(assigned.split(":")[0])
    if os.geteuid() == 0:
        return Path("/var/lib/ctiqa-node")
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "ctiqa-node"


class NodeSection(_Section):
    """Who we are, and who may talk to us."""

    ae_title: AeTitle = "CTIQA"
    address: str = "0.0.0.0"  # noqa: S104  # a scanner sends from another machine; `peers` says who may
    port: ListeningPort = 11112
    state_dir: Path = Field(default_factory=default_state_dir)
    max_associations: Annotated[int, Field(ge=1, le=1000)] = 64
    require_called_ae_title: bool = True
    acse_timeout_seconds: Seconds = 30
    dimse_timeout_seconds: Seconds = 30
    network_timeout_seconds: Seconds = 30
    max_pdu_bytes: Annotated[int, Field(ge=4096, le=2**27)] = 262144
    max_dataset_mib: Annotated[int, Field(ge=1, le=65536)] = 4096
    shutdown_seconds: Annotated[float, Field(gt=0, le=25)] = 15


class SpoolSection(_Section):
    """Where received instances lie, and how much room must stay free."""

    min_free_mib: Annotated[int, Field(ge=0)] = 512
    refuse_associations_below_mib: Annotated[int, Field(ge=0)] | None = None
    """None: twice min_free_mib."""

    @property
    def watermark_mib(self) -> int:
        """With less free space nobody may begin to send."""
        below = self.refuse_associations_below_mib
        return 2 * self.min_free_mib if below is None else below


class SeriesSection(_Section):
    """When a series is complete, and which one is assessed."""

    quiet_seconds: Seconds = 20
    min_slices: Annotated[int, Field(ge=1)] = 5
    max_million_voxels: Annotated[int, Field(ge=1, le=1_000_000)] = 4000


class WorkerSection(_Section):
    """The process that assesses."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Annotated[int, Field(ge=0, le=256)] = 0
    max_attempts: Annotated[int, Field(ge=1, le=20)] = 3
    stall_seconds: Seconds = 300
    golden_check: bool = True
    assessors: Annotated[tuple[AssessorName, ...], Field(min_length=1)] | None = None
    """None: all that ship. Which names there are, `analysis.require_known` knows."""


class ReportSection(_Section):
    """The objects that go back to the archive."""

    sr_series_number: SeriesNumber = 9901
    summary_series_number: SeriesNumber = 9902
    quality_maps_series_number: SeriesNumber = 9903
    parametric_map_series_number: SeriesNumber = 9904
    key_objects_series_number: SeriesNumber = 9905
    pdf_series_number: SeriesNumber = 9906
    text_report_series_number: SeriesNumber = 9907
    slice_groups: Literal["notable", "all"] = "notable"
    map_slices: Literal["notable", "all"] = "notable"

    @model_validator(mode="after")
    def _distinct(self) -> ReportSection:
        taken: dict[int, str] = {}
        for name in (name for name in type(self).model_fields if name.endswith("_series_number")):
            number = getattr(self, name)
            if number in taken:
                raise ValueError(f"{taken[number]} and {name} must differ")
            taken[number] = name
        return self


class OutputsSection(_Section):
    """How long the objects are kept that were made of a series."""

    keep_days: Annotated[float, Field(ge=0, le=36500)] | None = 30
    """After the last of them has come to its end; None: for ever."""


class RetentionSection(_Section):
    """How long what names patients is kept."""

    days: Annotated[float, Field(gt=0, le=36500)] | None = 7
    """Of pixel data, after its series came to an end; None: for ever."""


class LedgerSection(_Section):
    """How often the node reads its own books."""

    reconcile_every_hours: Annotated[float, Field(ge=0, le=744)] = 24
    """0: never by itself."""
    backup_every_hours: Annotated[float, Field(ge=0, le=744)] = 24
    """0: never by itself."""
    backups_kept: Annotated[int, Field(ge=1, le=1000)] = 7


class LoggingSection(_Section):
    """What is written to standard error (journald under systemd)."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"


class Config(BaseSettings):
    """The whole configuration. Precedence: environment (`CTIQA_SECTION__KEY`), file, default."""

    model_config = SettingsConfigDict(
        env_prefix="CTIQA_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    node: NodeSection = Field(default_factory=NodeSection)
    peers: Peers = ()
    tls: TlsSection = Field(default_factory=TlsSection)
    spool: SpoolSection = Field(default_factory=SpoolSection)
    series: SeriesSection = Field(default_factory=SeriesSection)
    completeness: CompletenessSection = Field(default_factory=CompletenessSection)
    worker: WorkerSection = Field(default_factory=WorkerSection)
    report: ReportSection = Field(default_factory=ReportSection)
    destinations: tuple[Destination, ...] = ()
    delivery: DeliverySection = Field(default_factory=DeliverySection)
    commitment: CommitmentSection = Field(default_factory=CommitmentSection)
    outputs: OutputsSection = Field(default_factory=OutputsSection)
    retention: RetentionSection = Field(default_factory=RetentionSection)
    ledger: LedgerSection = Field(default_factory=LedgerSection)
    logging: LoggingSection = Field(default_factory=LoggingSection)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the environment over the file (which arrives as the constructor's arguments)."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings

    @model_validator(mode="after")
    def _distinct(self) -> Config:
        names = [destination.name for destination in self.destinations]
        if doubled := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"destinations: the name {sorted(doubled)[0]!r} is used twice")
        if isinstance(self.completeness.archive, str) and self.completeness.archive not in names:
            raise ValueError(f"completeness.archive: no destination is called {self.completeness.archive!r}")
        return self

    def queried_archive(self) -> Entity | None:
        """The archive that is asked how many instances a series has."""
        archive = self.completeness.archive
        if not isinstance(archive, str):
            return archive
        named = next(each for each in self.destinations if each.name == archive)
        return Entity(ae_title=named.ae_title, host=named.host, port=named.port, tls=named.tls)

    @model_validator(mode="after")
    def _keeps_what_it_commits_to(self) -> Config:
        if self.commitment.offered and self.retention.days is not None:
            raise ValueError(
                "commitment.offered needs retention.days: null. A sender may delete its images once we have committed "
                f"to keep them, and we would delete them after retention.days ({self.retention.days:g})"
            )
        return self


LISTS: dict[str, type[BaseModel]] = {"peers": Peer, "destinations": Destination}
"""The settings that are lists, with what each entry is."""


def find_config(explicit: Path | None) -> Path | None:
    """The file to read: the one given, $CTIQA_CONFIG, /etc/ctiqa-node/config.yaml where it exists, or none."""
    if explicit is not None:
        return explicit
    if named := os.environ.get(CONFIG_VARIABLE):
        return Path(named)
    return SYSTEM_CONFIG if SYSTEM_CONFIG.is_file() else None


def load_config(path: Path | None = None) -> Config:
    """Read and check the configuration; without a file the embedded defaults hold.

    Raises:
        ConfigError: the file cannot be read, or a key is unknown, or a value is not allowed; names each key's path.
    """
    _refuse_unknown_variables()
    source = find_config(path)
    values = _read(source) if source else {}
    try:
        return Config(**values)
    except ValidationError as error:
        where = f"{source}" if source else "the environment"
        raise ConfigError("\n".join([f"The configuration in {where} cannot be used:", *_complaints(error)])) from error
    except SettingsError as error:
        raise ConfigError(f"An environment variable starting with CTIQA_ cannot be read: {error}") from error


def _refuse_unknown_variables() -> None:
    """A misspelt section in a variable's name would otherwise be overlooked in silence."""
    known = {f"CTIQA_{name.upper()}" for name in Config.model_fields}
    for variable in os.environ:
        if variable.startswith("CTIQA_") and variable not in NOT_SETTINGS and variable.split("__")[0] not in known:
            raise ConfigError(
                f"The environment variable {variable} names no setting; a name is CTIQA_<SECTION>__<KEY>, and "
                f"the sections are {', '.join(name.upper() for name in Config.model_fields)}."
            )


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"The configuration {path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"The configuration {path} is not valid YAML: {error}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"The configuration {path} must be a mapping of sections, not {type(values).__name__}.")
    return {str(key): value for key, value in values.items() if value is not None}


def _complaints(error: ValidationError) -> Iterator[str]:
    for detail in error.errors():
        path = ".".join(str(part) for part in detail["loc"]) or "configuration"
        if detail["type"] == "extra_forbidden":
            yield f"  {path}: unknown key; allowed here: {', '.join(_allowed(detail['loc'][:-1]))}"
        else:
            yield f"  {path}: {detail['msg']}; got {detail['input']!r}"


def _allowed(loc: tuple[int | str, ...]) -> list[str]:
    """The keys that are allowed at a place in the configuration."""
    if not loc:
        return list(Config.model_fields)
    if loc[0] == "peers":
        return list(Peer.model_fields)
    if loc[0] == "destinations":
        inner: dict[int | str, type[BaseModel]] = {"objects": ObjectSwitches, "tls": DestinationTls}
        return list(next((inner[part] for part in loc if part in inner), Destination).model_fields)
    if loc[:2] in {("commitment", "report_to"), ("completeness", "archive")}:
        return list((DestinationTls if "tls" in loc else Entity).model_fields)
    section = Config.model_fields[str(loc[0])].annotation
    return list(section.model_fields) if isinstance(section, type) and issubclass(section, BaseModel) else []


def keys() -> Iterator[tuple[str, Any]]:
    """Every key with its default, as `section.key`; what is in a list as `destinations[].key`."""
    for name, field in Config.model_fields.items():
        if name in LISTS:
            for key in LISTS[name].model_fields:
                yield f"{name}[].{key}", None
            continue
        section = field.get_default(call_default_factory=True)
        for key in type(section).model_fields:
            yield f"{name}.{key}", getattr(section, key)
