"""What `assess` does: series from files to values and result objects, by the same way as in the node, but no database.

Brings torch and all that draws and encodes: import it only when something is to be assessed.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from matplotlib.image import imsave

from ctiqa_node.analysis import Analyst, Assessed, require_known
from ctiqa_node.cli.offline_result import OfflineSeries, OfflineState
from ctiqa_node.config import Config
from ctiqa_node.ct import headers
from ctiqa_node.ct.loader import load_series
from ctiqa_node.ct.selection import choose
from ctiqa_node.ct.volume import CtVolume
from ctiqa_node.db.columns import now
from ctiqa_node.db.states import OutputKind
from ctiqa_node.errors import Rejected, RetryLater
from ctiqa_node.folders import SeriesFiles
from ctiqa_node.making import MadeOutput, make_output
from ctiqa_node.report.agreement import window_agreement
from ctiqa_node.report.completeness import completeness
from ctiqa_node.report.content import unheeded
from ctiqa_node.report.text import as_text
from ctiqa_node.result_values import ClassificationResult, MeasurementResult, ModelResult, SliceResult
from ctiqa_node.results import notable_of
from ctiqa_node.state import StateFolder
from ctiqa_node.tasks import make_report, sparing


class Offline:
    """Assesses series after series with models that are loaded once."""

    def __init__(self, config: Config, out: Path | None) -> None:
        self._config = config
        self._out = out
        worker = config.worker
        require_known(worker.assessors)
        models = StateFolder(config.node.state_dir).models
        self._analyst = Analyst(worker.device, worker.assessors, worker.threads, models)

    def assess(self, series: SeriesFiles, number: int, progress: Callable[[float], None]) -> OfflineSeries:
        """Assess one series, and write its results to `series-NN` of the output folder, where there is one.

        Raises:
            OSError: the results cannot be written.
        """
        progress(0.0)
        choice = choose(series.summaries, self._config.series.min_slices)
        if choice.reason is not None:
            return _described(series, "skipped", reason=choice.reason)
        try:
            most = self._config.series.max_million_voxels * 10**6
            paths = [series.paths[index] for index in choice.selected]
            volume = load_series(paths, most, self._config.worker.threads)
        except (Rejected, RetryLater) as error:
            return _described(series, "failed", reason=str(error))
        progress(0.1)
        assessed = self._analyst.assess(volume, sparing(volume, lambda share: progress(0.1 + 0.8 * share)))
        at = now()
        result = self._result(series, volume, assessed, at)
        if self._out is not None:
            result = self._write(result, self._out / f"series-{number:02d}", volume, assessed, at)
        progress(1.0)
        return result

    def _result(
        self, series: SeriesFiles, volume: CtVolume, assessed: Sequence[Assessed], at: datetime
    ) -> OfflineSeries:
        result = _described(series, "assessed")
        models = [_model(item, volume, self._analyst.device, at) for item in assessed]
        complete = completeness(volume)
        against = window_agreement(make_report(volume, assessed, 1, at, self._config))
        return result.model_copy(
            update={
                "slices": len(volume.sources),
                "completeness": str(complete),
                "missing_slices": complete.missing,
                "window_agreement": None if against is None else against.word,
                "findings": [finding.sentence for finding in volume.findings],
                "notable_slices": notable_of(models, len(volume.sources)),
                "models": models,
            }
        )

    def _write(
        self, result: OfflineSeries, folder: Path, volume: CtVolume, assessed: Sequence[Assessed], at: datetime
    ) -> OfflineSeries:
        result = result.model_copy(update={"folder": str(folder), "not_made": {}})
        folder.mkdir(parents=True, exist_ok=True)
        report = make_report(volume, assessed, 1, at, self._config)
        for kind in (OutputKind.STRUCTURED_REPORT, OutputKind.SUMMARY_PAGE):
            made = make_output(report, kind, unheeded)
            if isinstance(made, MadeOutput):
                _write_output(made, folder)
            elif made is not None:
                result.not_made[kind.value] = made.reason
        (folder / "results.json").write_text(result.model_dump_json(indent=2) + "\n", encoding="utf-8")
        return result


def _write_output(made: MadeOutput, folder: Path) -> None:
    """The object, and the same as a person can read it without a viewer."""
    name = "report.dcm" if made.kind is OutputKind.STRUCTURED_REPORT else "summary.dcm"
    with made.file, (folder / name).open("wb") as target:
        shutil.copyfileobj(made.file, target)
    if made.kind is OutputKind.STRUCTURED_REPORT:
        (folder / "report.txt").write_text(as_text(made.dataset), encoding="utf-8")
    else:
        imsave(folder / "summary.png", made.dataset.pixel_array)


def _described(series: SeriesFiles, state: OfflineState, reason: str | None = None) -> OfflineSeries:
    header = series.header
    return OfflineSeries(
        series_instance_uid=headers.text(header, "SeriesInstanceUID"),
        study_instance_uid=headers.text(header, "StudyInstanceUID"),
        accession_number=headers.text(header, "AccessionNumber"),
        patient_id=headers.text(header, "PatientID"),
        description=headers.text(header, "SeriesDescription"),
        modality=headers.text(header, "Modality"),
        instances=len(series.paths),
        state=state,
        reason=reason,
    )


def _model(item: Assessed, volume: CtVolume, device: str, at: datetime) -> ModelResult:
    model = item.model
    return ModelResult(
        model=model.name,
        version=model.version,
        weights_sha256=model.weights_sha256,
        trained_on=model.trained_on,
        summary=model.summary,
        status=model.status.value,
        reason=model.reason,
        reason_code=None if model.reason_code is None else model.reason_code.value,
        device=device,
        seconds=item.seconds,
        assessed_at=at,
        measurements=[MeasurementResult(name=m.name, value=m.value, unit=m.unit) for m in model.series_measurements],
        classifications=[
            ClassificationResult(name=c.name, label=c.label, probability=c.probability) for c in model.classifications
        ],
        slices=list(_slices(item, volume)),
        unscored_slices=dict(model.unscored_slices),
    )


def _slices(item: Assessed, volume: CtVolume) -> Iterator[SliceResult]:
    for measurement in item.model.measurements:
        index = measurement.slice_index
        if index is not None:
            source = volume.sources[index]
            yield SliceResult(
                name=measurement.name,
                value=measurement.value,
                unit=measurement.unit,
                slice_index=index,
                sop_instance_uid=source.sop_instance_uid,
                frame_number=source.frame_number,
            )
