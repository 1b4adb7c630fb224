"""The tables of the node's database (SQLAlchemy 2). Alembic's migrations in `migrations/` make them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from ctiqa_node.db.columns import UtcDateTime, words
from ctiqa_node.db.states import (
    AssociationOutcome,
    DeliveryState,
    InstanceState,
    JobState,
    OutputKind,
    OutputState,
    SeriesState,
)


class Base(DeclarativeBase):
    """The base of all tables."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime,
        str: String,
        AssociationOutcome: words(AssociationOutcome),
        InstanceState: words(InstanceState),
        JobState: words(JobState),
        DeliveryState: words(DeliveryState),
        OutputKind: words(OutputKind),
        OutputState: words(OutputState),
        SeriesState: words(SeriesState),
    }


class Association(Base):
    """One association that a peer requested, accepted or not."""

    __tablename__ = "associations"

    id: Mapped[int] = mapped_column(primary_key=True)
    calling_ae_title: Mapped[str]
    called_ae_title: Mapped[str]
    address: Mapped[str]
    port: Mapped[int]
    opened_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    outcome: Mapped[AssociationOutcome] = mapped_column(index=True)
    detail: Mapped[str | None]
    stored: Mapped[int] = mapped_column(default=0)
    refused: Mapped[int] = mapped_column(default=0)


class Series(Base):
    """One Series as received; names and dates as its first instance had them."""

    __tablename__ = "series"
    __table_args__ = (
        Index("series_by_state", "state", "last_instance_at"),
        Index("series_assessed_anew", "revision", sqlite_where=text("revision > 1")),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    series_instance_uid: Mapped[str] = mapped_column(unique=True)
    study_instance_uid: Mapped[str] = mapped_column(index=True)
    accession_number: Mapped[str] = mapped_column(default="", index=True)
    patient_id: Mapped[str] = mapped_column(default="", index=True)
    patient_name: Mapped[str] = mapped_column(default="")
    study_date: Mapped[str] = mapped_column(default="")
    modality: Mapped[str] = mapped_column(default="")
    description: Mapped[str] = mapped_column(default="")
    state: Mapped[SeriesState]
    state_since: Mapped[datetime]
    reason: Mapped[str | None]
    revision: Mapped[int] = mapped_column(default=0)
    first_instance_at: Mapped[datetime]
    last_instance_at: Mapped[datetime] = mapped_column(index=True)

    instances: Mapped[list[Instance]] = relationship(back_populates="series", order_by="Instance.id")
    history: Mapped[list[SeriesChange]] = relationship(back_populates="series", order_by="SeriesChange.id")
    jobs: Mapped[list[Job]] = relationship(back_populates="series", order_by="Job.id")
    assessments: Mapped[list[AssessmentRow]] = relationship(back_populates="series", order_by="AssessmentRow.id")
    outputs: Mapped[list[Output]] = relationship(back_populates="series", order_by="Output.id")
    unmade: Mapped[list[UnmadeOutput]] = relationship(back_populates="series", order_by="UnmadeOutput.id")
    volumes: Mapped[list[AssessedVolume]] = relationship(back_populates="series", order_by="AssessedVolume.id")


class SeriesChange(Base):
    """One change of a series' state."""

    __tablename__ = "series_history"

    id: Mapped[int] = mapped_column(primary_key=True)
    series_id: Mapped[int] = mapped_column(ForeignKey("series.id"), index=True)
    at: Mapped[datetime]
    event: Mapped[str]
    from_state: Mapped[str]
    to_state: Mapped[str]
    detail: Mapped[str | None]

    series: Mapped[Series] = relationship(back_populates="history")


class Instance(Base):
    """One SOP Instance that was answered with Success. `path` is relative to the spool."""

    __tablename__ = "instances"
    __table_args__ = (
        UniqueConstraint("sop_instance_uid", "sha256"),
        Index("one_kept_instance", "sop_instance_uid", unique=True, sqlite_where=text("state = 'kept'")),
        Index("instances_with_pixels", "series_id", "path", sqlite_where=text("expired_at IS NULL")),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    series_id: Mapped[int] = mapped_column(ForeignKey("series.id"), index=True)
    association_id: Mapped[int | None] = mapped_column(ForeignKey("associations.id"), index=True)
    sop_instance_uid: Mapped[str] = mapped_column(index=True)
    sop_class_uid: Mapped[str]
    transfer_syntax_uid: Mapped[str]
    sha256: Mapped[str]
    bytes: Mapped[int]
    path: Mapped[str] = mapped_column(unique=True)
    state: Mapped[InstanceState]
    received_at: Mapped[datetime]
    copies: Mapped[int] = mapped_column(default=1)
    """How often the very same instance was received."""
    modality: Mapped[str] = mapped_column(default="")
    image_type: Mapped[list[str]] = mapped_column(JSON, default=list)
    orientation: Mapped[list[float] | None] = mapped_column(JSON)
    frames: Mapped[int] = mapped_column(default=1)
    own_result: Mapped[bool] = mapped_column(default=False)
    assessed_in: Mapped[int | None]
    """The last revision of its series whose volume it was part of."""
    expired_at: Mapped[datetime | None]
    """When its pixel data was given up for good; its file is gone then, or about to go."""

    series: Mapped[Series] = relationship(back_populates="instances")
    association: Mapped[Association | None] = relationship()


class Job(Base):
    """One piece of work on one revision of a series."""

    __tablename__ = "jobs"

    id: Mapped[int] = mapped_column(primary_key=True)
    task: Mapped[str]
    series_id: Mapped[int] = mapped_column(ForeignKey("series.id"), index=True)
    revision: Mapped[int]
    state: Mapped[JobState] = mapped_column(index=True)
    attempts: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]
    not_before: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    worker: Mapped[str | None]
    """The token of the worker that has it."""
    progress: Mapped[float] = mapped_column(default=0.0)
    error: Mapped[str | None]

    series: Mapped[Series] = relationship(back_populates="jobs")


class AssessedVolume(Base):
    """What is known of the volume that was assessed as one revision of a series, apart from what the models say."""

    __tablename__ = "assessed_volumes"
    __table_args__ = (UniqueConstraint("series_id", "revision"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    series_id: Mapped[int] = mapped_column(ForeignKey("series.id"), index=True)
    revision: Mapped[int]
    slices: Mapped[int]
    completeness: Mapped[str]
    missing_slices: Mapped[int] = mapped_column(default=0)
    evidence: Mapped[list[str]] = mapped_column(JSON, default=list, server_default="[]")
    """What the verdict on completeness rests on, a sentence each."""
    window_agreement: Mapped[str | None]
    """Whether the window class agrees with the tags; None where one of both tells nothing."""
    findings: Mapped[list[dict[str, str]]] = mapped_column(JSON, default=list)
    """What the loader noticed: `code` and `sentence` of each."""

    series: Mapped[Series] = relationship(back_populates="volumes")


class AssessmentRow(Base):
    """What one model said of one revision of a series, and the model's provenance."""

    __tablename__ = "assessments"
    __table_args__ = (UniqueConstraint("series_id", "revision", "model"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    series_id: Mapped[int] = mapped_column(ForeignKey("series.id"), index=True)
    revision: Mapped[int]
    model: Mapped[str]
    version: Mapped[str]
    weights_sha256: Mapped[str | None]
    trained_on: Mapped[str]
    summary: Mapped[str] = mapped_column(default="", server_default="")
    """What the model computes, in one sentence."""
    status: Mapped[str]
    reason: Mapped[str | None]
    reason_code: Mapped[str | None]
    """The class of the reason, for programs."""
    unscored_slices: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)
    """Why slices were left out: index along z → reason."""
    device: Mapped[str]
    seconds: Mapped[float]
    assessed_at: Mapped[datetime]

    series: Mapped[Series] = relationship(back_populates="assessments")
    measurements: Mapped[list[MeasurementRow]] = relationship(back_populates="assessment", order_by="MeasurementRow.id")
    classifications: Mapped[list[ClassificationRow]] = relationship(
        back_populates="assessment", order_by="ClassificationRow.id"
    )


class MeasurementRow(Base):
    """One number; without a slice index it is of the whole series."""

    __tablename__ = "measurements"
    # By the slice, too: the values of the series are few among those of its slices.
    __table_args__ = (Index("measurements_of_an_assessment", "assessment_id", "slice_index"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    assessment_id: Mapped[int] = mapped_column(ForeignKey("assessments.id"))
    name: Mapped[str]
    value: Mapped[float]
    unit: Mapped[str]
    slice_index: Mapped[int | None]
    sop_instance_uid: Mapped[str | None]
    frame_number: Mapped[int | None]

    assessment: Mapped[AssessmentRow] = relationship(back_populates="measurements")


class ClassificationRow(Base):
    """One class with its probability, of the whole series."""

    __tablename__ = "classifications"

    id: Mapped[int] = mapped_column(primary_key=True)
    assessment_id: Mapped[int] = mapped_column(ForeignKey("assessments.id"), index=True)
    name: Mapped[str]
    label: Mapped[str]
    probability: Mapped[float]

    assessment: Mapped[AssessmentRow] = relationship(back_populates="classifications")


class Output(Base):
    """One DICOM object that the node made. `path` is relative to the outputs folder."""

    __tablename__ = "outputs"
    __table_args__ = (UniqueConstraint("series_id", "revision", "kind"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    series_id: Mapped[int] = mapped_column(ForeignKey("series.id"), index=True)
    revision: Mapped[int]
    kind: Mapped[OutputKind]
    sop_class_uid: Mapped[str]
    sop_instance_uid: Mapped[str]
    path: Mapped[str]
    sha256: Mapped[str]
    made_at: Mapped[datetime]
    state: Mapped[OutputState] = mapped_column(default=OutputState.KEPT, server_default="kept", index=True)
    removed_at: Mapped[datetime | None]

    series: Mapped[Series] = relationship(back_populates="outputs")
    deliveries: Mapped[list[Delivery]] = relationship(back_populates="output", order_by="Delivery.id")


class UnmadeOutput(Base):
    """One DICOM object that could not be made, and why. Without a reason it is being made just now."""

    __tablename__ = "unmade_outputs"
    __table_args__ = (UniqueConstraint("series_id", "revision", "kind"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    series_id: Mapped[int] = mapped_column(ForeignKey("series.id"), index=True)
    revision: Mapped[int]
    kind: Mapped[OutputKind]
    reason: Mapped[str | None]
    at: Mapped[datetime]

    series: Mapped[Series] = relationship(back_populates="unmade")


class Delivery(Base):
    """The sending of one output to one destination."""

    __tablename__ = "deliveries"
    __table_args__ = (
        UniqueConstraint("output_id", "destination"),
        Index("deliveries_by_destination", "destination", "state"),
        Index("pending_deliveries", "destination", "next_try_at", sqlite_where=text("state = 'pending'")),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    output_id: Mapped[int] = mapped_column(ForeignKey("outputs.id"), index=True)
    destination: Mapped[str]
    state: Mapped[DeliveryState] = mapped_column(index=True)
    attempts: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]
    next_try_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]
    """When the destination answered that it has stored it."""
    committed_at: Mapped[datetime | None]

    output: Mapped[Output] = relationship(back_populates="deliveries")
    tries: Mapped[list[DeliveryTry]] = relationship(back_populates="delivery", order_by="DeliveryTry.id")


class DeliveryTry(Base):
    """One try to send, and the answer: a DIMSE status where the peer gave one, and a sentence."""

    __tablename__ = "delivery_tries"

    id: Mapped[int] = mapped_column(primary_key=True)
    delivery_id: Mapped[int] = mapped_column(ForeignKey("deliveries.id"), index=True)
    at: Mapped[datetime]
    status: Mapped[int | None]
    answer: Mapped[str]

    delivery: Mapped[Delivery] = relationship(back_populates="tries")


class Heartbeat(Base):
    """The last sign of life of a process of the node."""

    __tablename__ = "heartbeats"

    process: Mapped[str] = mapped_column(primary_key=True)
    pid: Mapped[int]
    started_at: Mapped[datetime]
    at: Mapped[datetime]
    detail: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
