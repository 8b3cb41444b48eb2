"""Earlier predictions, held to what has happened since they were published."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from clvpredict.errors import ClvError, DataWarning
from clvpredict.options import TimeUnit
from clvpredict.refit.sample import sampled
from clvpredict.rfm import PREDICTIONS_KEY, Array

#: Of more customers, about so many are looked at.
SAMPLE = 20_000
#: A miss of one window is an alarm beyond this factor; one of two windows beyond its root.
FACTOR = 1.25
LEVEL = 0.9
# Shorter windows are full of weekdays and public holidays.
_SHORTEST_DAYS = 7.0
# So many older windows tell how far predictions are usually off.
_TELLING = 4
# Published columns are held to their own horizon for so many versions.
_HORIZONS_OVER = 2
# Standard errors that an interval of 90 % reaches to each side.
_Z = 1.6448536269514722
_COLUMNS = (
    "kind", "version", "as_of", "until", "customers", "quantity", "predicted", "lower", "upper",
    "observed", "bias_percent", "coverage", "coverage_expected", "pit_distance", "miss", "says",
)  # fmt: skip


class Published(Protocol):
    """What is looked at of a version, such as :class:`clvpredict.refit.versions.Version`."""

    @property
    def id(self) -> str:
        """Its name."""

    @property
    def path(self) -> Path:
        """Its folder, with ``model`` and ``predictions.parquet``."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """With ``as_of``, the last day that it knew."""


@dataclass(frozen=True)
class Asked:
    """What one version is held to."""

    kind: str
    version: Published
    as_of: pd.Timestamp
    until: pd.Timestamp


@dataclass(frozen=True)
class Log:
    """Transactions of all customers, or of a sample of them."""

    path: Path
    options: Mapping[str, Any]


def realised(
    transactions: Path,
    options: Mapping[str, Any],
    versions: Sequence[Published],
    end: str,
    *,
    customers: int,
    most: int,
    draws: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """Hold what was published to what happened.

    Time since the oldest of the last versions is cut into windows that do not overlap, each from
    one version's last day to that of the next one; every model forecasts its own. So each miss
    counts once, and misses of two windows are two pieces of evidence. Windows are at least one
    time unit and a week long.

    Parameters
    ----------
    transactions : Path
        The run's transactions, cut at ``end`` already.
    options : mapping
        Of :func:`clvpredict.rfm_summary`.
    versions : sequence of Version
        Published ones; those of ``end`` or later are not used.
    end : str
        The last day observed.
    customers : int
        How many there are now. Of more than 20,000, a sample is looked at.
    most : int
        Windows.

    Returns
    -------
    DataFrame
        A row per question and quantity (`purchases`, `value`), the newest first. `kind`:
        ``"window"``; ``"so far"``, from the oldest of these versions until now; ``"published"``,
        the published columns of versions whose own horizon is over. `version`, `as_of`,
        `until`; `customers` who had been published then and are looked at; `predicted` total
        with `lower` and `upper` (90 %), `observed`, `bias_percent` (predicted over observed,
        minus 1); `coverage` of customers' 90 % intervals and what the forecast itself promised,
        `pit_distance`; `miss` (from the middle of the interval, in half-widths; 1 is the end of
        it); `says` what could not be done. The interval of published columns is that of
        independent customers: it is without what parameters leave open.
    """
    unit = TimeUnit.parse(options.get("time_unit", "D"))
    rows: list[dict[str, Any]] = []
    name = str(options.get("customer_id", "customer_id"))
    with sampled(transactions, name, customers, SAMPLE) as path:
        log = Log(path, options)
        for asked in _questions(versions, pd.Timestamp(end), unit, most):
            said = {
                "kind": asked.kind,
                "version": asked.version.id,
                "as_of": asked.as_of.date().isoformat(),
                "until": asked.until.date().isoformat(),
            }
            try:
                answer = _published if asked.kind == "published" else _forecast
                with warnings.catch_warnings():
                    # That customers had bought before observation_start is known by now.
                    warnings.simplefilter("ignore", DataWarning)
                    found = answer(asked, log, draws, seed)
            except ClvError as error:
                why = " ".join(str(error).split())
                found = [{"quantity": "purchases", "says": f"not checked: {why}"}]
            rows += [said | row for row in found]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def alarms(table: pd.DataFrame) -> list[str]:
    """Say where predictions and reality have parted.

    A quantity raises an alarm

    - if what was observed in the newest window lies farther from the middle of the 90 % interval
      of its total than twice the half-width, and is more than 1.25 times the prediction (or the
      prediction more than 1.25 times it); by chance, about once in 1,000 runs;
    - or if it lies outside the intervals of the two newest windows, on the same side, by a factor
      of more than 1.12 in each; by chance, about once in 200 runs;
    - or if a whole published horizon is missed by the first rule.

    Sales also come and go with seasons and campaigns, which these models do not know. Where four
    or more older windows tell how far predictions were off before, beyond what the intervals say,
    the half-width is widened by that; and the factors keep large shops, where intervals are
    narrow, from an alarm in every run.
    """
    found = []
    for quantity in ("purchases", "value"):
        own = table[(table["quantity"] == quantity) & table["miss"].notna()]
        windows = own[own["kind"] == "window"]
        usual = _usual(windows.iloc[2:])
        newest, two = windows.head(1), windows.head(2)
        over = own[own["kind"] == "published"].head(1)
        wrong = [*_beyond(newest, 2.0, FACTOR, usual), *_beyond(over, 2.0, FACTOR, usual)]
        if not wrong and len(two) == 2 and len(set(np.sign(two["miss"]))) == 1:
            both = _beyond(two, 1.0, FACTOR**0.5, usual)
            wrong = both if len(both) == 2 else []
        for row in wrong:
            ratio = row["observed"] / row["predicted"] if row["predicted"] > 0 else np.inf
            came, expected, low, high = (
                _said(row[c]) for c in ("observed", "predicted", "lower", "upper")
            )
            found.append(
                f"{quantity} of {row['as_of']} to {row['until']}: {came} came, {expected} "
                f"({low} to {high}) had been predicted by version {row['version']}, {ratio:.2g} "
                "times as much"
            )
    return found


def _said(total: float) -> str:
    return f"{total:,.0f}" if abs(total) >= 1000 else f"{total:,.4g}"


def _beyond(table: pd.DataFrame, miss: float, factor: float, usual: float) -> list[dict[Any, Any]]:
    """Rows that missed by so many half-widths, and by the factor."""
    found = []
    for row in table.to_dict("records"):
        half = _half_width(row["quantity"], row["predicted"], row["lower"], row["upper"])
        widened = np.hypot(half, _Z * usual * row["predicted"])
        ratio = row["observed"] / max(row["predicted"], 1e-300)
        if abs(row["miss"]) * half > miss * widened and not 1 / factor <= ratio <= factor:
            found.append(row)
    return found


def _usual(windows: pd.DataFrame) -> float:
    """Standard deviation of ln(observed / predicted) beyond what intervals promise; 0 of few."""
    known = windows[(windows["predicted"] > 0) & (windows["observed"] > 0)]
    if len(known) < _TELLING:
        return 0.0
    off = np.log(known["observed"] / known["predicted"])
    promised = (known["upper"] - known["lower"]) / (2.0 * _Z * known["predicted"])
    return float(np.sqrt(max((off**2 - promised**2).mean(), 0.0)))


def _half_width(quantity: str, predicted: float, low: float, high: float) -> float:
    half = (high - low) / 2.0
    if quantity == "purchases":
        # Counts of a few are skewed, and jump.
        half = max(half, _Z * float(np.sqrt(max(predicted, 0.0)))) + 1.0
    return half


def _questions(
    versions: Sequence[Published], end: pd.Timestamp, unit: TimeUnit, most: int
) -> Iterator[Asked]:
    """What to hold to what, the newest windows first."""
    shortest = pd.Timedelta(days=max(unit.days, _SHORTEST_DAYS))
    # Of several versions of one day, the last one counts.
    known = {pd.Timestamp(str(v.facts["as_of"])[:10]): v for v in versions if v.facts.get("as_of")}
    until, windows = end.normalize(), 0
    oldest = None
    for as_of in sorted(known, reverse=True):
        if windows < most and until - as_of >= shortest:
            oldest = Asked("window", known[as_of], as_of, until)
            yield oldest
            until, windows = as_of, windows + 1
    if oldest is not None and windows > 1:
        yield replace(oldest, kind="so far", until=end.normalize())
    over = 0
    for as_of in sorted(known, reverse=True):
        days = _horizon_days(known[as_of]) if over < _HORIZONS_OVER else None
        if days is not None and as_of + days <= end.normalize():
            over += 1
            yield Asked("published", known[as_of], as_of, as_of + days)


def _horizon_days(version: Published) -> pd.Timedelta | None:
    """The main horizon of published predictions; None if it has no end, or none is told."""
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_schema(_predictions(version)).pandas_metadata or {}
    except OSError:
        return None
    said = (metadata.get("attributes") or {}).get(PREDICTIONS_KEY) or {}
    if not said.get("horizon") or not said.get("time_unit"):
        return None
    return pd.Timedelta(days=round(said["horizon"] * TimeUnit.parse(said["time_unit"]).days))


def _forecast(asked: Asked, log: Log, draws: int, seed: int) -> list[dict[str, Any]]:
    """What the model of a version says of a window."""
    from clvpredict.evaluate.judged import Holdout, judge
    from clvpredict.evaluate.measures import measures
    from clvpredict.store import load_model, read_table

    model = load_model(asked.version.path / "model")
    split, published = _together(_split(asked, log), read_table(_predictions(asked.version)))
    split = split[split["customer_id"].isin(published["customer_id"])].reset_index(drop=True)
    if split.empty:
        return [{"quantity": "purchases", "says": "not checked: nobody who was published is there"}]
    holdout = Holdout.of(split)
    judged = judge("published", model, holdout, draws=draws, seed=seed)
    found = measures(judged, holdout)
    rows = []
    for quantity, prefix in (("purchases", ""), ("value", "value_")):
        if f"{prefix}predicted_total" not in found or not np.isfinite(
            found[f"{prefix}predicted_total"]
        ):
            continue
        row = _row(
            quantity,
            len(split),
            found[f"{prefix}predicted_total"],
            found[f"{prefix}observed_total"],
            (found[f"{prefix}total_lower"], found[f"{prefix}total_upper"]),
        )
        row["coverage"] = found[f"{prefix}coverage_90"]
        row["coverage_expected"] = found[f"{prefix}coverage_90_expected"]
        row["pit_distance"] = found[f"{prefix}pit_ks"]
        rows.append(row | {"says": judged.note or ""})
    return rows


def _published(asked: Asked, log: Log, draws: int, seed: int) -> list[dict[str, Any]]:
    """What published columns said of their horizon, customer by customer; nothing is drawn."""
    from clvpredict.evaluate.measures import inside
    from clvpredict.store import read_table

    split, table = _together(_split(asked, log), read_table(_predictions(asked.version)))
    terms = table.attrs[PREDICTIONS_KEY]
    both = table.merge(split, on="customer_id", suffixes=("", "_split"))
    expected, bought = (
        both[c].to_numpy(np.float64) for c in ("expected_purchases", "frequency_holdout")
    )
    row = _row("purchases", len(both), expected.sum(), bought.sum(), _independent(expected, bought))
    if "purchases_pi_lower" in both and terms.get("interval") == LEVEL:
        ends = (both[f"purchases_pi_{end}"].to_numpy(np.float64) for end in ("lower", "upper"))
        row["coverage"] = float(inside(bought, *ends).mean())
    rows = [row]
    margin = terms.get("margin")
    if "clv_undiscounted" in both and "monetary_value_holdout" in both:
        if not isinstance(margin, int | float):
            return [*rows, {"quantity": "value", "says": "not checked: the margin is no number"}]
        worth = both["clv_undiscounted"].to_numpy(np.float64)
        brought = margin * bought * both["monetary_value_holdout"].to_numpy(np.float64)
        ends_of_total = _independent(worth, brought)
        rows.append(_row("value", len(both), worth.sum(), brought.sum(), ends_of_total))
    return rows


def _independent(expected: Array, observed: Array) -> tuple[float, float]:
    """The interval of a total of customers who miss their expectations independently."""
    reach = _Z * float(np.sqrt(((observed - expected) ** 2).sum()))
    return float(expected.sum()) - reach, float(expected.sum()) + reach


def _row(
    quantity: str, customers: int, predicted: float, observed: float, ends: tuple[float, float]
) -> dict[str, Any]:
    from clvpredict.evaluate.measures import bias

    low, high = ends
    half = _half_width(quantity, predicted, low, high)
    return {
        "quantity": quantity,
        "customers": customers,
        "predicted": float(predicted),
        "lower": low,
        "upper": high,
        "observed": float(observed),
        "bias_percent": float(bias(predicted, observed)),
        "miss": (observed - (low + high) / 2.0) / half if half > 0 else np.nan,
        "says": "",
    }


def _split(asked: Asked, log: Log) -> pd.DataFrame:
    from clvpredict.transactions import calibration_holdout

    return calibration_holdout(
        str(log.path),
        calibration_end=asked.as_of.date(),
        observation_end=asked.until.date(),
        **log.options,
    )


def _predictions(version: Published) -> Path:
    return version.path / "predictions.parquet"


def _together(split: pd.DataFrame, table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both with ids of one type: a source's may have changed from numbers to text."""
    if split["customer_id"].dtype == table["customer_id"].dtype:
        return split, table
    one, other = (f.assign(customer_id=f["customer_id"].astype(str)) for f in (split, table))
    return one, other
