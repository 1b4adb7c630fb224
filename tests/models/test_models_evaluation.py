"""Figures of classes, tables in three forms, and metrics of others."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ctiqa_models.evaluation import classes, render
from ctiqa_models.evaluation.against import Unavailable, metric
from ctiqa_models.evaluation.figures import Figure, bootstrap
from ctiqa_models.evaluation.table import Row, Table

TRUTH = np.asarray([1, 1, 1, 1, 0, 0, 0, 0, 0, 0], dtype=np.float64)
CALLED = np.asarray([1, 1, 1, 0, 1, 0, 0, 0, 0, 0], dtype=np.float64)
TABLE = Table(
    "TFKT, setting A",
    ("PLCC", "RMSE"),
    (
        Row("TFKT", (Figure(0.9842), None), "paper"),
        Row("ours", (Figure(0.98765, 0.9712, 0.99), Figure(19.3409))),
        Row("pyiqa:a|b", ("not installed", Figure(float("nan"))), "not measured"),
    ),
    ("simulated slices",),
)


def test_the_figures_of_classes_are_those_of_the_textbook() -> None:
    assert classes.accuracy(CALLED, TRUTH) == 0.8
    assert classes.precision(CALLED, TRUTH) == 0.75
    assert classes.recall(CALLED, TRUTH) == 0.75
    assert classes.f1(CALLED, TRUTH) == 0.75
    assert classes.precision(CALLED, TRUTH, positive=0) == pytest.approx(5 / 6)


def test_chest_ctiqas_published_f1_follows_from_its_precision_and_recall() -> None:
    # Of 320: a precision of 0.96 and a recall of 0.7578 (paper, window) belong to 97 found, 4 wrong and 31 missed.
    truth = np.repeat([1.0, 0.0], [128, 192])
    called = np.concatenate([np.repeat([1.0, 0.0], [97, 31]), np.repeat([1.0, 0.0], [4, 188])])
    assert classes.precision(called, truth) == pytest.approx(0.9604, abs=1e-4)
    assert classes.recall(called, truth) == pytest.approx(0.7578, abs=1e-4)
    assert classes.f1(called, truth) == pytest.approx(0.8470, abs=1e-3)


def test_where_nothing_is_called_or_found_there_is_no_figure() -> None:
    nothing = np.zeros(4)
    assert np.isnan(classes.precision(nothing, np.ones(4)))
    assert np.isnan(classes.recall(np.ones(4), nothing))
    assert np.isnan(classes.f1(nothing, nothing))
    assert classes.f1(nothing, np.ones(4)) == 0.0


def test_the_figures_of_classes_can_be_bootstrapped() -> None:
    figure = bootstrap(classes.f1, CALLED, TRUTH, [str(index) for index in range(10)], resamples=200)
    assert figure.value == 0.75
    assert figure.low is not None
    assert figure.high is not None
    assert 0 <= figure.low < 0.75 < figure.high <= 1


def test_a_table_is_readable_text_with_intervals_and_sources() -> None:
    text = render.as_text([TABLE])
    assert text.startswith("TFKT, setting A\n")
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
    assert lines["TFKT"][-3:] == ["0.9842", "–", "paper"]
    assert lines["ours"] == ["ours", "0.988", "[0.971–0.990]", "19.34", "measured"]
    assert lines["pyiqa:a|b"] == ["pyiqa:a|b", "not", "installed", "–", "not", "measured"]
    assert "  simulated slices" in text


def test_markdown_keeps_its_cells_apart() -> None:
    text = render.as_markdown([TABLE, TABLE])
    assert text.count("### TFKT, setting A") == 2
    assert "|  | PLCC | RMSE | source |\n| --- | --- | --- | --- |\n" in text
    assert "| pyiqa:a\\|b | not installed | – | not measured |" in text
    assert "- simulated slices" in text


def test_json_keeps_every_digit_and_has_null_for_what_is_no_number() -> None:
    (table,) = json.loads(render.as_json([TABLE]))
    assert table["columns"] == ["PLCC", "RMSE"]
    paper, ours, other = table["rows"]
    assert paper["cells"] == [{"value": 0.9842, "low": None, "high": None}, None]
    assert ours["cells"][0] == {"value": 0.98765, "low": 0.9712, "high": 0.99}
    assert other["cells"] == ["not installed", {"value": None, "low": None, "high": None}]
    assert other["source"] == "not measured"


def test_a_table_of_counts_has_no_decimals() -> None:
    counts = Table("Found", ("a", "b"), (Row("is a", (Figure(18.0), Figure(0.0))), Row("is b", (Figure(1.0), None))))
    assert render.as_text([counts]).split("\n")[4].split() == ["is", "a", "18", "0", "measured"]
    assert "| is b | 1 | – | measured |" in render.as_markdown([counts])
    shares = Table("Right", ("a",), (Row("ours", (Figure(1.0),)), Row("theirs", (Figure(0.0),))))
    assert "| ours | 1.0000 | measured |" in render.as_markdown([shares])


def test_negative_figures_have_a_minus_sign() -> None:
    assert render.cell_text(Figure(-0.25, -0.5, 0.125)) == "−0.250 [−0.500 to 0.125]"


PYIQA = '''
"""Stands in for pyiqa, which is not for every use free and not a dependency: as its 0.1.16 behaves."""
from urllib.error import URLError

__version__ = "0.1.16"


class Model:
    def __init__(self, name):
        self.lower_better = name == "piqe"
        self.metric_mode = "FR" if name == "ssim" else "NR"
        self.name = name

    def __call__(self, images):
        assert images.shape[1] == 3 and 0 <= images.min() and images.max() <= 1
        if self.name == "musiq":
            raise RuntimeError("the image is too small")
        return images.mean(dim=(1, 2, 3)).unsqueeze(1)


def list_models():
    return ["piqe", "nrqm", "clipiqa", "ssim", "dbcnn", "musiq"]


def create_metric(name, device=None):
    if name == "dbcnn":
        raise URLError("Name or service not known")
    if name == "clipiqa":
        raise ImportError("clip is too old")
    return Model(name)
'''


@pytest.fixture
def pyiqa(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "pyiqa.py").write_text(PYIQA)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pyiqa", raising=False)
    yield
    sys.modules.pop("pyiqa", None)  # or a later test finds it installed


@pytest.mark.usefixtures("pyiqa")
def test_a_metric_of_pyiqa_scores_grey_images_so_that_more_is_better() -> None:
    images = np.stack([np.full((16, 16), grey, np.float32) for grey in np.linspace(0, 1, 11)])
    np.testing.assert_allclose(metric("pyiqa:nrqm", "cpu").score(images), np.linspace(0, 1, 11), atol=1e-6)
    np.testing.assert_allclose(metric("pyiqa:piqe", "cpu").score(images), -np.linspace(0, 1, 11), atol=1e-6)


@pytest.mark.usefixtures("pyiqa")
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("dbcnn", "its weights cannot be had: Name or service not known"),
        ("clipiqa", "it cannot be made: clip is too old"),
        ("ssim", "needs a reference image, and there is none"),
        ("nonsense", "pyiqa 0.1.16 knows no such metric"),
    ],
)
def test_a_metric_that_cannot_be_used_says_why(name: str, reason: str) -> None:
    with pytest.raises(Unavailable) as refused:
        metric(f"pyiqa:{name}", "cpu")
    assert str(refused.value) == reason


@pytest.mark.usefixtures("pyiqa")
def test_a_metric_that_fails_on_the_images_says_why() -> None:
    with pytest.raises(Unavailable, match="the image is too small"):
        metric("pyiqa:musiq", "cpu").score(np.zeros((1, 16, 16), np.float32))


def test_without_pyiqa_the_row_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    with pytest.raises(Unavailable, match="pyiqa is not installed"):
        metric("pyiqa:niqe")
    with pytest.raises(ValueError, match="names no metric"):
        metric("niqe")
