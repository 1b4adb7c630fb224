"""The parts of the configuration that say where results go, and how stubbornly they are sent."""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import Field, model_validator

from ctiqa_node.network_settings import AeTitle, DestinationTls, Port, Seconds
from ctiqa_node.network_settings import Section as _Section
from ctiqa_node.profiles import PROFILES, ObjectName, ProfileName


class ObjectSwitches(_Section):
    """Result objects that one destination gets (true) or does not get (false) whatever its profile says."""

    sr: bool | None = None
    summary: bool | None = None
    quality_maps: bool | None = None
    parametric_map: bool | None = None
    key_objects: bool | None = None
    pdf: bool | None = None
    text_report: bool | None = None

    def applied_to(self, objects: frozenset[ObjectName]) -> frozenset[ObjectName]:
        """A set of objects with these switches over it."""
        switches = {name: getattr(self, name) for name in get_args(ObjectName)}
        return frozenset(name for name, on in switches.items() if (name in objects if on is None else on))


class Destination(_Section):
    """An archive or viewer that gets results by C-STORE; which ones, its profile says, and the switches over it."""

    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")]
    ae_title: AeTitle
    host: Annotated[str, Field(min_length=1)]
    port: Port
    calling_ae_title: AeTitle | None = None
    tls: DestinationTls | None = None
    commitment: bool = False
    """Whether a result counts as sent only when the destination has committed to keep it."""
    profile: ProfileName = "generic-pacs"
    objects: ObjectSwitches = ObjectSwitches()

    @property
    def wanted(self) -> frozenset[ObjectName]:
        """The objects that are sent here."""
        return self.objects.applied_to(PROFILES[self.profile])

    @model_validator(mode="after")
    def _wants_something(self) -> Destination:
        if not self.wanted:
            raise ValueError(f"objects switches off all that the profile {self.profile} sends; remove the destination")
        return self


class DeliverySection(_Section):
    """How stubbornly results are sent."""

    first_retry_seconds: Seconds = 5
    max_retry_seconds: Seconds = 900
    give_up_after_days: Annotated[float, Field(gt=0, le=365)] = 7
    connection_timeout_seconds: Seconds = 10
    answer_timeout_seconds: Seconds = 30
    commitment_wait_seconds: Seconds = 3600
    """So long an archive that was asked to commit may take to answer; then it is asked again."""


class Entity(_Section):
    """An Application Entity that we call, and where it is."""

    ae_title: AeTitle
    host: Annotated[str, Field(min_length=1)]
    port: Port
    tls: DestinationTls | None = None


class CommitmentSection(_Section):
    """Whether senders may ask us whether their instances are kept."""

    offered: bool = False
    report_to: tuple[Entity, ...] = ()
    """Where senders take our reports."""


class CompletenessSection(_Section):
    """Which archive is asked how many instances a series has, before it is assessed."""

    archive: Entity | Annotated[str, Field(min_length=1)] | None = None
    """An Application Entity, or the name of a destination."""
    wait_seconds: Seconds = 300
    """So long after its last instance a series is waited for of which the archive has more."""
    answer_seconds: Annotated[float, Field(gt=0, le=300)] = 10
