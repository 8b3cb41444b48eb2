"""Where a budget should go: the best split over segments or channels, and its frontier."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from clvpredict.business.allocation import (
    Limits,
    Split,
    best_mean,
    best_worst,
    gains,
    marginals,
    worst_mean,
)
from clvpredict.business.budget_terms import SLACK, Objective, Terms, terms_of
from clvpredict.errors import DataWarning, OptionError, notify, refuse_unknown
from clvpredict.predict import interval_of
from clvpredict.rfm import Array

#: Returns below this are less than they cost; 1 but for rounding.
_WORTH = 1.0 - 1e-6
_TERMS = (
    "quantile",
    "spend_all",
    "max_contacts",
    "contacts_per_customer",
    "interval",
    "draws",
    "seed",
)
#: Of the objective; a split that may be further from the best is told of.
_LARGEST_GAP = 1e-3


@dataclass(frozen=True, repr=False)
class Allocation:
    """The best split of a budget.

    Parameters
    ----------
    table : DataFrame
        A row per segment: `segment, customers` (where given), `spend` (money), `share` (of all
        that is spent), `contacts` (where a cost per contact is given), `gain` (expected, money)
        and `gain_lower, gain_upper` (missing where no response is uncertain), `net_gain` (gain
        less spend), `marginal_return` (what one more unit of money there would add to the
        objective; equal for all segments that are at no bound), `minimum, maximum` (spend) and
        `bound` (``"minimum"``, ``"maximum"``,
        ``"all customers"`` are contacted, or empty).
    total : Series
        `budget, spend, unspent, contacts, gain, gain_lower, gain_upper, net_gain`, `p_worth`
        (probability that the gain exceeds the spend), `marginal_return` (of the next unit of
        budget), `gain_quantile` (the stated quantile of the gain) and `gain_worst` (its mean over
        the draws up to there), `gap` (no other split has an objective higher by more).
    draws : array, shape (draws, segments)
        Gains under each draw of the responses; one draw where nothing is uncertain.
    """

    table: pd.DataFrame
    total: pd.Series[float]
    draws: Array = field(compare=False)

    def __repr__(self) -> str:
        t = self.total
        text = f"<Allocation: {t['spend']:,.0f} of {t['budget']:,.0f} over {len(self.table)} "
        text += f"segments, gain {t['gain']:,.0f}"
        if np.isfinite(t["gain_lower"]):
            text += f" ({t['gain_lower']:,.0f} to {t['gain_upper']:,.0f})"
        return f"{text}, marginal return {t['marginal_return']:,.2f}>"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self))}</p>{self.table.to_html(index=False)}"


def allocate_budget(
    segments: pd.DataFrame,
    budget: float,
    *,
    response: Any,
    objective: Objective = "mean",
    quantile: float = 0.1,
    spend_all: bool = True,
    max_contacts: float | None = None,
    contacts_per_customer: float = 1.0,
    interval: float = 0.9,
    draws: int = 2000,
    seed: int = 0,
) -> Allocation:
    """Split a budget over segments or channels so that it brings the most.

    Parameters
    ----------
    segments : DataFrame
        A row per segment, named in the column `segment` or the index, such as
        :func:`segment_table` gives (its row of all customers is left out). Optional columns:
        `customers`; `cost_per_contact` (money; with `customers`, no more is spent than contacts
        all of them); `minimum`, `maximum` (spend, money; missing for none); and any that the
        response names, such as `clv_total`.
    budget : float
        Most that may be spent, in money.
    response : response, callable, or mapping from segment to these
        What spend brings: :class:`SaturatingResponse`, :class:`PowerResponse`,
        :class:`ElasticResponse`, or a concave function of spend (an array) that returns gains
        of the same shape, or of shape (draws, spends). One for all, or one per segment. Gains
        must be of the same kind as the spend: margin, not revenue.
    objective : {"mean", "lower_quantile"}
        Maximise the expected gain, or the gain when things go badly: its mean over the worst
        share of draws.
    quantile : float
        That share.
    spend_all : bool
        Whether to spend on when another unit brings less than it costs; with False such money is
        left unspent. Either way none is spent where it brings nothing.
    max_contacts : float, optional
        In all segments together, such as what a call centre can do.
    contacts_per_customer : float
        At most.
    interval : float
        Level of the gains' intervals.
    draws, seed : int
        Of the responses' parameters, where means and standard errors are given.

    Returns
    -------
    Allocation
        ``table`` per segment, ``total`` of all, and the ``draws`` of the gains.

    Raises
    ------
    DataError
        If the segments cannot be used; all problems are listed.
    OptionError
        If the minimums exceed the budget or the contacts, a curve is not concave, or
        ``"lower_quantile"`` is asked of responses without uncertainty.

    Warns
    -----
    DataWarning
        If the last unit of budget brings less than it costs.

    Notes
    -----
    Maximised is E[Σ gᵢ(sᵢ)], or with ``"lower_quantile"`` the expected shortfall, the mean of the
    lowest ``quantile`` of the draws of Σ gᵢ(sᵢ), subject to Σ sᵢ ≤ budget, minimumᵢ ≤ sᵢ ≤
    maximumᵢ and Σ sᵢ / costᵢ ≤ ``max_contacts``. (Less the spend, with ``spend_all=False``.) The
    quantile itself is not concave in the spends, so it could have several local maxima; its mean
    below is concave, never exceeds it, and minds how bad it gets. Both are reported. Optimal is
    a split at which the marginal returns of all segments between their bounds are equal.

    Intervals are of what is not known of the responses, and of nothing else.

    Examples
    --------
    >>> import pandas as pd
    >>> from clvpredict.business import SaturatingResponse, allocate_budget
    >>> segments = pd.DataFrame({
    ...     "segment": ["loyal", "at risk", "lost"],
    ...     "customers": [800, 1_500, 4_000],
    ...     "clv_total": [240_000, 180_000, 60_000],
    ...     "cost_per_contact": [2.0, 2.0, 0.5],
    ... })
    >>> plan = allocate_budget(
    ...     segments, 4_000, response=SaturatingResponse((0.10, 0.04), half=2_000, of="clv_total")
    ... )
    >>> plan.table[["segment", "spend", "marginal_return", "minimum", "maximum"]].round(2)
       segment    spend  marginal_return  minimum  maximum
    0    loyal  1600.00             3.70      0.0   1600.0
    1  at risk  2057.16             2.19      0.0   3000.0
    2     lost   342.84             2.19      0.0   2000.0
    """
    terms = terms_of(
        segments,
        [budget],
        response=response,
        objective=objective,
        quantile=quantile,
        spend_all=spend_all,
        max_contacts=max_contacts,
        contacts_per_customer=contacts_per_customer,
        interval=interval,
        draws=draws,
        seed=seed,
    )
    plan = _solve(terms, float(budget))
    if spend_all and plan.total["spend"] > float(terms.least.sum()) * (1 + SLACK):
        moved = plan.table["spend"].to_numpy() > terms.least * (1 + SLACK)
        last = float(plan.table.loc[moved, "marginal_return"].min())
        if last < _WORTH:
            worst = "" if objective == "mean" else " in the worst draws"
            notify(
                f"the last unit of the budget of {budget:,.6g} brings {last:.2f}{worst}, less than "
                "it costs: spend_all=False leaves such money unspent.",
                DataWarning,
            )
    return plan


def budget_frontier(
    segments: pd.DataFrame,
    budgets: Sequence[float] | npt.NDArray[np.float64],
    *,
    response: Any,
    objective: Objective | Sequence[Objective] = "mean",
    **terms: Any,
) -> pd.DataFrame:
    """Tabulate what the best split of each budget brings.

    Parameters
    ----------
    segments : DataFrame
        As in :func:`allocate_budget`.
    budgets : sequence of float
        In money.
    response : response, callable, or mapping from segment to these
        As in :func:`allocate_budget`.
    objective : str, or sequence of both
        As in :func:`allocate_budget`; both together show what caution costs.
    **terms
        `quantile, spend_all, max_contacts, contacts_per_customer, interval, draws, seed`, as in
        :func:`allocate_budget`.

    Returns
    -------
    DataFrame
        A row per objective and budget: `objective, budget, spend, unspent, contacts` (where there
        is a cost per contact), `gain, gain_lower, gain_upper, net_gain, p_worth,
        marginal_return, gain_quantile, gain_worst, gap`, as ``Allocation.total``. Every budget
        is judged under the same draws. ``attrs`` has the level, the quantile and the budget
        from which another unit brings less than it costs (`worth`: the first of these budgets, per
        objective; None where there is none).

    Raises
    ------
    DataError, OptionError
        As in :func:`allocate_budget`.

    Examples
    --------
    >>> import pandas as pd
    >>> from clvpredict.business import PowerResponse, budget_frontier
    >>> channels = pd.DataFrame({"segment": ["search", "mail"], "scale": [60.0, 20.0]})
    >>> table = budget_frontier(
    ...     channels, [100, 900, 2_500], response=PowerResponse("scale", exponent=0.5)
    ... )
    >>> table[["budget", "gain", "marginal_return"]].round(2)
       budget     gain  marginal_return
    0   100.0   632.46             3.16
    1   900.0  1897.37             1.05
    2  2500.0  3162.28             0.63
    """
    refuse_unknown("budget_frontier", terms, _TERMS)
    amounts = np.unique(np.asarray(budgets, dtype=np.float64))
    if not amounts.size:
        raise OptionError("budgets=[] has none: give e.g. numpy.linspace(0, 100_000, 21).")
    rows, worth = [], {}
    for goal in [objective] if isinstance(objective, str) else objective:
        known = terms_of(segments, amounts, response=response, objective=goal, **terms)
        totals = [_solve(known, float(amount)).total for amount in amounts]
        rows += [{"objective": goal, **total.to_dict()} for total in totals]
        below = [total["budget"] for total in totals if total["marginal_return"] < _WORTH]
        worth[str(goal)] = float(below[0]) if below else None
    table = pd.DataFrame(rows)
    if known.cost is None:
        table = table.drop(columns="contacts")
    table.attrs = {
        "interval": known.interval,
        "quantile": known.quantile,
        "worth": worth,
        "currency": known.currency,
    }
    return table


def _solve(terms: Terms, budget: float) -> Allocation:
    even = np.full(terms.draws, 1.0 / terms.draws)
    most = np.minimum(terms.most, np.maximum(budget, terms.least))
    limits = Limits(budget, terms.least, most, terms.floor, terms.cost, terms.contacts)
    split = best_mean(terms.curves, limits, even)
    if terms.objective == "lower_quantile":
        split = best_worst(terms.curves, limits, terms.quantile, terms.draws, split.spend)
    drawn = gains(terms.curves, split.spend, terms.draws)
    allocation = _described(terms, budget, split, drawn)
    goal = allocation.total["gain_worst"]
    if split.gap > _LARGEST_GAP * max(abs(goal), 1e-300):
        notify(
            f"the split of {budget:,.6g} may miss the best one by up to {split.gap:,.6g} of "
            f"{goal:,.6g}: give more draws, or fewer segments.",
            DataWarning,
        )
    return allocation


def _described(terms: Terms, budget: float, split: Split, drawn: Array) -> Allocation:
    spend = split.spend
    slope = marginals(terms.curves, spend, split.weights)
    slack = SLACK * max(budget, 1.0)
    at_most, at_least = spend >= terms.most - slack, spend <= terms.least + slack
    top = np.where(terms.cap <= terms.most, "all customers", "maximum")
    bound = np.where(at_most, top, np.where(at_least, "minimum", ""))
    columns: dict[str, Any] = {"segment": terms.names}
    if terms.customers is not None:
        whole = (terms.customers == np.round(terms.customers)).all()
        columns["customers"] = terms.customers.astype(np.int64 if whole else np.float64)
    columns["spend"] = spend
    columns["share"] = spend / spend.sum() if spend.sum() > 0 else np.nan
    if terms.cost is not None:
        columns["contacts"] = spend / terms.cost
    lower, upper = _between(drawn.T, terms)
    gain = drawn.mean(axis=0)
    columns |= {"gain": gain, "gain_lower": lower, "gain_upper": upper, "net_gain": gain - spend}
    columns |= {"marginal_return": slope, "minimum": terms.least, "maximum": terms.most}
    table = pd.DataFrame(columns | {"bound": bound})
    table.attrs = {
        "budget": budget,
        "objective": terms.objective,
        "interval": terms.interval,
        "quantile": terms.quantile,
        "currency": terms.currency,
    }
    everything = drawn.sum(axis=1)
    low, high = _between(everything[None, :], terms)
    worst = worst_mean(everything, terms.quantile)
    marginal = float(slope[~at_most].max()) if (~at_most).any() else 0.0
    spent = float(spend.sum())
    total = {
        "budget": budget,
        "spend": spent,
        # Less than a millionth of it is rounding.
        "unspent": budget - spent if budget - spent > 1e-6 * budget else 0.0,
        "contacts": np.nan if terms.cost is None else float((spend / terms.cost).sum()),
        "gain": float(everything.mean()),
        "gain_lower": float(low[0]),
        "gain_upper": float(high[0]),
        "net_gain": float(everything.mean()) - spent,
        "p_worth": float((everything > spent).mean()),
        "marginal_return": split.price if split.contact_price > 0 else marginal,
        "gain_quantile": float(np.quantile(everything, terms.quantile, method="inverted_cdf")),
        "gain_worst": worst,
        "gap": split.gap,
    }
    return Allocation(table, pd.Series(total, name="total"), drawn)


def _between(values: Array, terms: Terms) -> tuple[Array, Array]:
    """Intervals of each row of draws; missing where nothing is uncertain."""
    if terms.draws == 1:
        unknown = np.full(len(values), np.nan)
        return unknown, unknown
    return interval_of(values, terms.interval)
