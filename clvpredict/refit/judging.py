"""The gate of a run: its vintages, its part of the customers, and what ``--force`` overrules."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from clvpredict.errors import DataError, DataWarning, notify
from clvpredict.options import TimeUnit
from clvpredict.refit import modelling
from clvpredict.refit.sample import sampled

if TYPE_CHECKING:
    from clvpredict.refit.config import Config
    from clvpredict.refit.landing import Landed


def judged(
    config: Config,
    landed: Landed,
    last: date,
    fitted: modelling.Fitted,
    champion: tuple[str, Any] | None,
    *,
    force: bool,
) -> tuple[dict[str, Any], str | None]:
    """Hold candidates, and the published model, to what came after vintages.

    Parameters
    ----------
    config : Config
    landed : Landed
        The transactions.
    last : date
        The last day observed.
    fitted : dict of str to model
        The candidates that converged.
    champion : tuple of str and model, or None
        The published version and its model.
    force : bool
        Choose the best candidate, whatever the gate says.

    Returns
    -------
    gate : dict
        For the record of the run.
    chosen : str or None
        Which candidate predicts.

    Raises
    ------
    DataError
        If the data are too short for a gate; not if it is forced.
    """
    from clvpredict.refit.gate import judge_candidates
    from clvpredict.refit.vintages import vintages

    if not fitted:
        return {"decision": "no candidate converged.", "findings": []}, None
    assert landed.first is not None  # else the summary had refused
    unit = TimeUnit.parse(config.summary.time_unit)
    try:
        horizon, cuts = vintages(landed.first, last, config.gate, unit, config.predict.horizons[0])
    except DataError as error:
        if not force:
            raise
        notify(f"forced, without a gate: {error}", DataWarning)
        return {"decision": "forced, without a gate.", "findings": []}, next(iter(fitted))
    most = config.gate.sample or landed.customers
    with sampled(landed.path, config.source.customer_id, landed.customers, most) as path:
        verdict = judge_candidates(
            path,
            {**modelling.summary_options(config), "observation_end": last},
            fitted,
            champion,
            config.gate,
            modelling.fit_options(config),
            cuts,
            horizon,
            seed=config.job.seed,
        )
    found = verdict.as_json()
    if verdict.publish or not force:
        return found, verdict.chosen
    return found | {"decision": f"forced, though it should be {verdict.decision}"}, verdict.best
