"""Runs logged to MLflow, where a tracking store is named. The truth stays in our own files and rows."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backend.errors import Unprocessable

_UNFIT = re.compile(r"[^\w\-. /]")
"""What MLflow takes in no name."""


class TrackingUnavailable(Unprocessable):
    """A tracking store was named that nothing can be logged to."""

    title = "Tracking unavailable"


class Tracker:
    """An experiment in an MLflow tracking store.

    Args:
        uri: of the store: ``http://``, ``https://``, ``file:`` or a database's, as MLflow takes them.
        experiment: made where it is not there.

    Raises:
        TrackingUnavailable: MLflow is not installed, or the store does not answer.
    """

    def __init__(self, uri: str, experiment: str) -> None:
        try:
            from mlflow import MlflowClient
        except ImportError as error:
            expected = "pip install 'morelike[mlflow]'"
            raise TrackingUnavailable("MLflow is not installed.", found=uri, expected=expected) from error
        self._uri = uri
        try:
            self._client = MlflowClient(tracking_uri=uri)
            known = self._client.get_experiment_by_name(experiment)
            self._experiment = known.experiment_id if known else self._client.create_experiment(experiment)
        except Exception as error:  # MLflow lets through whatever its stores raise
            raise self._failed(error) from error

    def log(
        self, name: str, parameters: Mapping[str, Any], metrics: Mapping[str, float], *, files: Path | None = None
    ) -> None:
        """One finished run, with a file or a folder of files; numbers that are not finite are left out.

        Raises:
            TrackingUnavailable: the store does not take it.
        """
        try:
            run = self._client.create_run(self._experiment, run_name=name).info.run_id
            for key, value in parameters.items():
                self._client.log_param(run, _UNFIT.sub("_", key), str(value)[:500])
            for key, number in metrics.items():
                if math.isfinite(number):
                    self._client.log_metric(run, _UNFIT.sub("_", key), float(number))
            if files is not None:
                log = self._client.log_artifacts if files.is_dir() else self._client.log_artifact
                log(run, str(files))
            self._client.set_terminated(run)
        except Exception as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> TrackingUnavailable:
        found = f"{type(error).__name__}: {error}"[:300]
        return TrackingUnavailable("MLflow did not take the run.", found=found, expected=f"a store at {self._uri}")
