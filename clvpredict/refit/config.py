"""What a scheduled job does: one TOML file, read and checked whole.

Every field says in its description what it must be: errors and the terminal use these words.
What can be switched off is ``false`` in the file and ``None`` here.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr

from clvpredict.options import Collapse, Discounting, Method, Returns

#: What scores of a forecast may decide between champion and challenger; the less, the better.
Metric = Literal["crps", "log_score", "mae", "rmse", "brier", "value_crps", "value_mae"]
SegmentsBy = Literal["value", "lifecycle", "rfm"]

_LENGTH = 'a length of time, such as "13W"'
#: Tables that say how a run is told, not what it makes.
_BESIDE = ("log", "hooks", "tracking", "retention")
#: Of the source: how long it is waited for.
_PATIENCE = ("attempts", "first_wait")
_DATABASE_FILES = ("duckdb:///", "sqlite:///")


def _off(value: Any) -> Any:
    return None if value is False else value


def _day(value: Any) -> Any:
    if isinstance(value, str):
        return dt.date.fromisoformat(value.strip())
    if type(value) is not dt.date:
        raise ValueError("not a day")
    return value


Off = BeforeValidator(_off)
Text = Annotated[str, Field(min_length=1)]
Share = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Ratio = Annotated[float, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Several = Annotated[int, Field(ge=1)]
# Whole numbers within what every generator takes as a seed.
Seed = Annotated[int, Field(ge=0, lt=2**32)]

_SHARE = "a share from 0 to 1, such as 0.02, or false"
_WORDS = 'a list of words, such as ["notify", "{status}"]; [] for none'
_ROWS = "a whole number, 0 or more, or false"
_COST = "a number, 0 or more, such as 2.5"


class Section(BaseModel):
    """A table of the file; it cannot be changed, and knows no other keys."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class JobConfig(Section):
    """``[job]``."""

    name: Text = Field("clvpredict", description="a text, such as 'shop'")
    store: Text = Field("clvpredict-store", description="the path of a folder")
    seed: Seed = Field(0, description="a whole number from 0 to 4294967295")


class SourceConfig(Section):
    """``[source]``: where the transactions are."""

    path: Text | Annotated[tuple[Text, ...], Field(min_length=1)] | None = Field(
        None, description="a path, a pattern such as 'orders/*.csv', or a list of them"
    )
    database: Text | None = Field(
        None,
        description="a URL, such as 'duckdb:///shop.duckdb', 'sqlite:///shop.sqlite' or "
        "'postgresql://${PGUSER}:${PGPASSWORD}@localhost:5432/shop'",
    )
    table: Text | None = Field(None, description="the name of a table, 'orders' or 'shop.orders'")
    query: Text | None = Field(None, description="a query, such as 'select * from orders'")
    customer_id: Text = Field("customer_id", description="the name of a column")
    date: Text = Field("date", description="the name of a column")
    amount: Annotated[Text | None, Off] = Field(
        "amount", description="the name of a column, or false if there is no money"
    )
    loaded_at: Text | None = Field(None, description="the name of a column")
    unknown_ids: tuple[str | int, ...] = Field(
        (), description='a list of ids that mean nobody, such as ["", "guest"]'
    )
    incremental: bool = Field(False, description="true or false")
    late_days: Count = Field(14, description="a whole number of days, 0 or more")
    attempts: Annotated[int, Field(ge=1, le=100)] = Field(
        5, description="a whole number from 1 to 100"
    )
    first_wait: NotNegative = Field(1.0, description="a number of seconds, 0 or more")


class SummaryConfig(Section):
    """``[summary]``: how transactions become one row per customer."""

    time_unit: Text = Field("W", description="a unit of time: 'D' (days), 'W' (weeks), '10D', ...")
    collapse: Collapse = Field("D", description="'h', 'D' or 'W'")
    returns: Returns = Field("net", description="'net', 'drop' or 'error'")
    timezone: Text = Field("UTC", description="a time zone, such as 'UTC' or 'Europe/Berlin'")
    currency: Text | None = Field(None, description="a text, such as 'EUR'")
    observation_start: Annotated[dt.date | None, BeforeValidator(_day)] = Field(
        None, description="a day, such as 2024-01-31"
    )


class ChecksConfig(Section):
    """``[checks]``: what a delivery must be like; None: not checked."""

    min_rows: Annotated[Count | None, Off] = Field(1, description=_ROWS)
    min_customers: Annotated[Count | None, Off] = Field(30, description=_ROWS)
    max_unknown_ids: Annotated[Share | None, Off] = Field(0.02, description=_SHARE)
    min_rows_kept: Annotated[Share | None, Off] = Field(0.999, description=_SHARE)
    min_customers_kept: Annotated[Share | None, Off] = Field(0.95, description=_SHARE)
    new_rows: Annotated[tuple[NotNegative, Positive] | None, Off] = Field(
        (0.2, 5.0),
        description="the least and the most, as multiples of what is usual, such as [0.2, 5.0], "
        "or false",
    )
    max_amount_shift: Annotated[Positive | None, Off] = Field(
        0.5, description="a number above 0, such as 0.5, or false"
    )
    max_median_ratio: Annotated[Ratio | None, Off] = Field(
        3.0, description="a number, 1 or more, such as 3.0, or false"
    )
    max_largest_ratio: Annotated[Ratio | None, Off] = Field(
        20.0, description="a number, 1 or more, such as 20.0, or false"
    )
    max_duplicates: Annotated[Share | None, Off] = Field(0.05, description=_SHARE)
    max_age_days: Annotated[NotNegative | None, Off] = Field(
        None, description="a number of days, 0 or more, such as 2, or false"
    )
    compare_runs: Several = Field(6, description="a whole number, 1 or more")


class PriorConfig(Section):
    """A prior of one parameter; exactly one of the three."""

    lognormal: tuple[float, Positive] | None = Field(
        None, description="[mu, sigma] of the logarithm, such as [0.0, 1.0]"
    )
    halfnormal: Positive | None = Field(None, description="a number above 0, such as 2.0")
    gamma: tuple[Positive, Positive] | None = Field(
        None, description="[alpha, beta], two numbers above 0, such as [2.0, 1.0]"
    )

    def make(self) -> Any:
        """The PyMC distribution."""
        import pymc as pm

        if self.lognormal is not None:
            return pm.LogNormal.dist(*self.lognormal)
        if self.halfnormal is not None:
            return pm.HalfNormal.dist(self.halfnormal)
        alpha, beta = self.gamma or (1.0, 1.0)
        return pm.Gamma.dist(alpha=alpha, beta=beta)


class ModelConfig(Section):
    """``[model]``: what is fitted, and how."""

    candidates: Annotated[tuple[Text, ...], Field(min_length=1)] = Field(
        ("mbg/nbd",), description='a list of names of models, such as ["mbg/nbd"]'
    )
    method: Method = Field("laplace", description="'mle', 'map', 'laplace', 'nuts' or 'auto'")
    priors: dict[str, PriorConfig] = Field(
        {}, description="a table of parameters, such as r = {lognormal = [0.0, 1.0]}"
    )

    def make_priors(self, names: Iterable[str] | None = None) -> dict[str, Any]:
        """The priors as PyMC distributions, for ``fit``.

        Parameters
        ----------
        names : iterable of str, optional
            The parameters that the model has; priors of others are for other candidates.
        """
        wanted = self.priors if names is None else set(names)
        return {name: prior.make() for name, prior in self.priors.items() if name in wanted}


class CostsConfig(Section):
    """``[predict.costs]``: the fields of :class:`clvpredict.Costs`, as numbers."""

    service_cost: NotNegative = Field(0.0, description=_COST)
    cost_to_serve: NotNegative = Field(0.0, description=_COST)
    marketing_cost: NotNegative = Field(0.0, description=_COST)
    retention_cost: NotNegative = Field(0.0, description=_COST)
    return_rate: Share = Field(0.0, description="a share from 0 to 1, such as 0.08")
    period: Text = Field("M", description="a unit of time: 'D', 'W', 'M' or 'Y'")


class PredictConfig(Section):
    """``[predict]``: what is predicted of every customer."""

    horizons: Annotated[tuple[Text, ...], Field(min_length=1)] = Field(
        ("52W",), description='a list of lengths of time, the main one first, such as ["52W"]'
    )
    interval: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.9, description="a share between 0 and 1, such as 0.9"
    )
    draws: Annotated[int, Field(ge=2)] = Field(500, description="a whole number, 2 or more")
    discount_rate: NotNegative = Field(0.1, description="a yearly rate, 0 or more, such as 0.1")
    discounting: Discounting = Field(
        "continuous", description="'continuous', 'monthly', 'none' or 'lifetimes'"
    )
    margin: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="a share above 0 and up to 1; 30 % is 0.3"
    )
    fallback_spend: NotNegative | None = Field(None, description="an amount, 0 or more")
    recalibrate: bool = Field(False, description="true or false")
    costs: CostsConfig | None = Field(None, description="a table: [predict.costs]")


class SegmentsConfig(Section):
    """``[segments]``: the rule of :func:`clvpredict.segment_customers`."""

    by: SegmentsBy = Field("value", description="'value', 'lifecycle' or 'rfm'")
    options: dict[str, Any] = Field(
        {}, description="a table of options, such as {shares = [0.2, 0.3, 0.5]}"
    )


class GateConfig(Section):
    """``[gate]``: what a new model must be like to be published; None: not asked."""

    horizon: Text | None = Field(None, description=_LENGTH)
    vintages: Several = Field(3, description="a whole number, 1 or more")
    every: Text | None = Field(None, description='a length of time, such as "4W"')
    metric: Metric = Field(
        "crps",
        description="'crps', 'log_score', 'mae', 'rmse', 'brier', 'value_crps' or 'value_mae'",
    )
    margin: NotNegative = Field(0.02, description="0 or more, such as 0.02")
    sample: Annotated[Several | None, Off] = Field(
        20_000, description="a whole number of customers, 1 or more, or false for all of them"
    )
    max_bias: Annotated[Positive | None, Off] = Field(
        25.0, description="a number of percent above 0, such as 25.0, or false"
    )
    max_value_bias: Annotated[Positive | None, Off] = Field(
        35.0, description="a number of percent above 0, such as 35.0, or false"
    )
    max_pit_distance: Annotated[Share | None, Off] = Field(
        0.1, description="a distance from 0 to 1, such as 0.1, or false"
    )
    max_k_hat: Annotated[Positive | None, Off] = Field(
        0.7, description="a number above 0, such as 0.7, or false"
    )
    max_r_hat: Annotated[Ratio | None, Off] = Field(
        1.01, description="a number, 1 or more, such as 1.01, or false"
    )


class DriftConfig(Section):
    """``[drift]``: when the drift report raises an alarm."""

    max_stability_index: Positive = Field(0.25, description="a number above 0, such as 0.25")
    level: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.9, description="a share between 0 and 1, such as 0.9"
    )
    runs: Several = Field(12, description="a whole number, 1 or more")


class RetentionConfig(Section):
    """``[retention]``: how many runs and versions are kept."""

    runs: Several = Field(200, description="a whole number, 1 or more")
    versions: Annotated[int, Field(ge=2)] = Field(
        12, description="a whole number, 2 or more: a rollback needs the one before"
    )


class OutputConfig(Section):
    """One of ``[[outputs]]``: a file, or a table of a database."""

    path: Text | None = Field(None, description="a path that ends in .csv or .parquet")
    database: Text | None = Field(
        None, description="a URL, such as 'sqlite:///shop.sqlite', with a table"
    )
    table: Text | None = Field(None, description="the name of a table, 'predictions'")
    partition: bool = Field(False, description="true or false")
    excel_safe: bool = Field(False, description="true or false")


class HooksConfig(Section):
    """``[hooks]``: commands to run when a run has ended."""

    on_published: tuple[str, ...] = Field((), description=_WORDS)
    on_held_back: tuple[str, ...] = Field((), description=_WORDS)
    on_failed: tuple[str, ...] = Field((), description=_WORDS)
    timeout: Positive = Field(60.0, description="a number of seconds above 0")


class TrackingConfig(Section):
    """``[tracking]``: where MLflow keeps runs."""

    uri: Text = Field("file:./mlruns", description="an address, such as 'file:./mlruns'")
    experiment: Text = Field("clvpredict", description="the name of an experiment")
    model: bool = Field(True, description="true or false")


class LogConfig(Section):
    """``[log]``."""

    format: Literal["text", "json"] = Field("text", description="'text' or 'json'")


class Config(Section):
    """A job, as its file says; :func:`clvpredict.refit.load_config` reads it."""

    job: JobConfig = Field(JobConfig(), description="a table: [job]")
    source: SourceConfig = Field(SourceConfig(), description="a table: [source]")
    summary: SummaryConfig = Field(SummaryConfig(), description="a table: [summary]")
    checks: ChecksConfig = Field(ChecksConfig(), description="a table: [checks]")
    model: ModelConfig = Field(ModelConfig(), description="a table: [model]")
    predict: PredictConfig = Field(PredictConfig(), description="a table: [predict]")
    segments: SegmentsConfig | None = Field(None, description="a table: [segments]")
    gate: GateConfig = Field(GateConfig(), description="a table: [gate]")
    drift: DriftConfig = Field(DriftConfig(), description="a table: [drift]")
    retention: RetentionConfig = Field(RetentionConfig(), description="a table: [retention]")
    outputs: tuple[OutputConfig, ...] = Field(
        (), description="tables in double brackets, one per output: [[outputs]]"
    )
    hooks: HooksConfig = Field(HooksConfig(), description="a table: [hooks]")
    tracking: TrackingConfig | None = Field(None, description="a table: [tracking]")
    log: LogConfig = Field(LogConfig(), description="a table: [log]")

    _path: Path = PrivateAttr(Path("clvpredict.toml"))
    _text: str = PrivateAttr("")

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    @property
    def text(self) -> str:
        """The file's text; secrets are names in it."""
        return self._text

    @property
    def digest(self) -> str:
        """SHA-256 of what makes a difference to what is made; secrets unresolved.

        Defaults that are written out make none.
        """
        beside: dict[str, Any] = {**dict.fromkeys(_BESIDE, True), "source": set(_PATIENCE)}
        plain = self.model_dump(mode="json", exclude=beside, exclude_defaults=True)
        text = json.dumps(plain, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def resolve(self, path: str | Path) -> Path:
        """Where a path of the file is: relative ones start at the file's folder."""
        return (self._path.parent / Path(path).expanduser()).absolute()

    def resolve_database(self, url: str) -> str:
        """The URL with the file of a DuckDB or SQLite database in full; others as they are.

        ``sqlite:///shop.sqlite`` is beside the configuration, ``sqlite:////data/shop.sqlite``
        is not. Secrets stay unresolved.
        """
        for start in _DATABASE_FILES:
            # A name such as ${SHOP_FILE} may hold a path in full.
            if url.startswith(start) and not url.startswith(f"{start}${{"):
                return start + str(self.resolve(url.removeprefix(start)))
        return url


def _keys() -> dict[str, str]:
    found = {"horizon": "horizons under [predict]"}
    for name, section in (
        ("summary", SummaryConfig),
        ("model", ModelConfig),
        ("predict", PredictConfig),
    ):
        found |= {key: f"{key} under [{name}]" for key in section.model_fields}
    return found


#: Where in the file the arguments of functions are, of which their errors speak.
KEYS = _keys()
