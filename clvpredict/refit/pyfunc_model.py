"""The model that MLflow serves: it reads our folder of open formats, and nothing is pickled.

MLflow copies this file beside that folder, and runs it when the model is loaded.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pandas as pd

from clvpredict.refit.config import Config
from clvpredict.refit.predictions import terms
from clvpredict.store import load_model, load_recalibration

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MLflow warns of its own code while it is imported
    from mlflow.models import set_model
    from mlflow.pyfunc import PythonModel


class Predictions(PythonModel):  # type: ignore[misc]  # MLflow's types are not read
    """Predicts from an RFM frame, as the run that the model comes from did."""

    def load_context(self, context: Any) -> None:
        """Read the model, and the recalibration where the run had one."""
        files: dict[str, str] = context.artifacts
        self._model: Any = load_model(Path(files["model"]))
        found = files.get("recalibration")
        self._recalibration = None if found is None else load_recalibration(Path(found))
        self._options: dict[str, Any] = json.loads(Path(files["options"]).read_text())

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Predict.

        Parameters
        ----------
        context
            MLflow's.
        model_input : DataFrame
            An RFM summary, in the time unit of the model.
        params : dict, optional
            ``horizon``, ``interval`` (0: none), ``draws`` and ``seed``, where they are to differ
            from those of the run.
        """
        asked = params or {}
        job, predict = dict(self._options["job"]), dict(self._options["predict"])
        main = predict["horizons"][0]
        horizon = asked.get("horizon", main)
        predict["draws"] = asked.get("draws", predict["draws"])
        job["seed"] = asked.get("seed", job["seed"])
        config = Config.model_validate_json(json.dumps({"job": job, "predict": predict}))
        # It was learnt at one horizon, and says nothing of others.
        recalibration = self._recalibration if horizon == main else None
        predictions: pd.DataFrame = self._model.predict(
            model_input,
            horizon=horizon,
            interval=asked.get("interval", predict["interval"]) or None,
            **terms(config, self._model, recalibration),
        )
        return predictions


set_model(Predictions())
