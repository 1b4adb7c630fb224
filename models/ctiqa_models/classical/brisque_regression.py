"""The support-vector regression from BRISQUE features to a score, as the `brisque` package ships it."""

from __future__ import annotations

import hashlib
import pickle
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from libsvm import svmutil


class LiveRegression:
    """Epsilon-SVR trained by the paper's authors on the LIVE database; loads the model files of the `brisque` package.

    The package itself is not imported: that would pull in an HTTP client and an image reader for nothing.
    Raises FileNotFoundError where the package or its files are missing.
    """

    def __init__(self) -> None:
        folder = _model_folder()
        svm_file = folder / "svm.txt"
        self.sha256 = hashlib.sha256(svm_file.read_bytes()).hexdigest()
        self._model = svmutil.svm_load_model(str(svm_file))
        with (folder / "normalize.pickle").open("rb") as file:
            ranges = _PlainUnpickler(file).load()
        self._low = np.asarray(ranges["min_"], dtype=np.float64)
        self._high = np.asarray(ranges["max_"], dtype=np.float64)

    def predict(self, features: npt.NDArray[np.float64]) -> list[float]:
        """Score features [n, 36]: about 0 (best) to 100 (worst) for photographs."""
        scaled = 2.0 * (features - self._low) / (self._high - self._low) - 1.0
        scores, _, _ = svmutil.svm_predict([], scaled.tolist(), self._model, "-q")
        return [float(score) for score in scores]


class _PlainUnpickler(pickle.Unpickler):
    """Reads dictionaries, lists and numbers only, so that the file can run no code."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        raise pickle.UnpicklingError(f"unexpected {module_name}.{global_name}")


def _model_folder() -> Path:
    spec = find_spec("brisque")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the brisque package is not installed")
    return Path(spec.submodule_search_locations[0]) / "models"
