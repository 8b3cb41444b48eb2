"""Draw the gallery of the documentation: ``python docs/make_gallery.py``.

Writes ``gallery.md`` and its pictures. The code on the page is the code that drew them: it is
held here as text, run from top to bottom, and written out.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
IMAGES = HERE / "images" / "gallery"
_DPI = 80
_COLOURS = 128

INTRODUCTION = """# Gallery

Written by `python docs/make_gallery.py`, which runs the code below. Every function of
`clvpredict.plots` draws one table, takes `ax=` and returns the Axes. What the tables hold is said
on the page about [evaluation](evaluation.md).

CDNOW, a shop for music: 2,357 customers who first bought in early 1997. The models see what they
did until the end of September 1997; the 39 weeks after that are the holdout.
"""

SET_UP = """
import tempfile
import warnings
from pathlib import Path

import pandas as pd

import clvpredict as clv
from clvpredict import business, evaluate, plots
from clvpredict.errors import DataWarning

cdnow = clv.load_cdnow()
history = clv.purchase_history(cdnow)
split = clv.calibration_holdout(cdnow, calibration_end="1997-09-30", time_unit="W", currency="USD")
bg, mbg = (clv.CLVModel(buying).fit(split) for buying in (clv.BGNBD(), clv.MBGNBD()))
evaluation = clv.evaluate_holdout([bg, mbg], split, draws=200)
results = clv.backtest(cdnow, [clv.BGNBD(), clv.MBGNBD()], every="6W", horizons=["13W", "26W"])
folder = tempfile.mkdtemp()
"""


@dataclass(frozen=True)
class Picture:
    """One picture: its file's name, what it is for, and the code that leaves it in ``ax``."""

    name: str
    text: str
    code: str


GROUPS: dict[str, list[Picture]] = {
    "Predictions beside what came": [
        Picture(
            "calibration",
            "Do customers buy as often as predicted, whatever they did before? Round points are "
            "what customers of one earlier frequency bought in the holdout on average, with the "
            "95 % interval of that mean; a model's line should pass through the intervals.",
            "ax = plots.plot_calibration(evaluation.calibration())",
        ),
        Picture(
            "calibration_value",
            "Is the predicted value right for good and for bad customers? The same, for tenths "
            "of the customers by what was predicted.",
            """
deciles = evaluation.deciles(of="value")
ax = plots.plot_calibration(deciles[deciles["model"] == "MBG/NBD"])
""",
        ),
        Picture(
            "reliability",
            "Of customers with a 30 % probability to buy again, do 30 % buy? A right model's "
            "line stays on the diagonal, and chance leaves it within the band.",
            """
table = evaluation.reliability()
ax = plots.plot_reliability(table[table["model"] == "MBG/NBD"])
""",
        ),
        Picture(
            "pit",
            "Are the predicted distributions as wide as they should be? If so all bars are 1: a "
            "U means too narrow, a hump too wide, a slope too low (rising) or too high "
            "(falling).",
            "ax = plots.plot_pit(evaluation.pit())",
        ),
        Picture(
            "pit_ecdf",
            "Is that more than chance? The same added up, less what it should be: it is where a "
            "line crosses the dashed ones of its colour.",
            "ax = plots.plot_pit_ecdf(evaluation.pit())",
        ),
        Picture(
            "coverage",
            "Do predictive intervals hold as many customers as they promise? Filled points should "
            "be at the hollow ones of their colour; both are above the diagonal, for intervals "
            "of counts end at whole numbers and hold more than their level.",
            "ax = plots.plot_coverage(evaluation.coverage())",
        ),
        Picture(
            "coverage_deciles",
            "And do they for all customers, from the worst to the best? Filled points should be "
            "at the hollow ones; a line that falls at the right means intervals too narrow for "
            "the best customers.",
            "ax = plots.plot_coverage(evaluation.coverage(), level=0.9)",
        ),
    ],
    "Ranking": [
        Picture(
            "gain",
            "If only some customers can be reached, how much of the value do those have whom the "
            "model puts first? Read upwards from the share that can be reached; the dotted line "
            "is what could be had if the future were known.",
            'ax = plots.plot_gain(evaluation.gain(of="value"))',
        ),
        Picture(
            "lift",
            "How many times better than at random is that? At 10 % a lift of 5 means that a "
            "tenth of the customers has half of the total.",
            'ax = plots.plot_lift(evaluation.gain(of="value"))',
        ),
    ],
    "Over time": [
        Picture(
            "tracking",
            "When were more or fewer purchases made than expected? To the left of the cut is "
            "what the model was fitted on, to the right what it had not seen; seasons and sales "
            "stand out of the band.",
            """
tracked = evaluate.tracking_table(mbg, history, split)
ax = plots.plot_tracking(tracked)
""",
        ),
        Picture(
            "tracking_cumulative",
            "Is the total right in the end? The same added up: what comes too early and what "
            "comes too late cancels.",
            """
both = evaluate.tracking_table([bg, mbg], history, split)
ax = plots.plot_tracking(both, cumulative=True)
""",
        ),
    ],
    "Backtests": [
        Picture(
            "backtest",
            "Is the model as good at other dates, and further ahead? A cell for each cut date "
            "and horizon: colours on one side mean a bias that stays, on both sides one that "
            "comes and goes.",
            'ax = plots.plot_backtest(results, "bias_percent", "MBG/NBD")',
        ),
        Picture(
            "backtest_lines",
            "Which model is best at which date? Lines that cross, or change sides, say that one "
            "split could not have told.",
            'ax = plots.plot_backtest_lines(results, "bias_percent", "13W")',
        ),
        Picture(
            "comparison",
            "Is the best model better than the others by more than chance? Where the interval "
            "holds 0, it may not be. (`compare` warns here that one of the dates alone would have "
            "chosen another model.)",
            """
with warnings.catch_warnings(action="ignore", category=DataWarning):
    ranked = clv.compare(results, "crps", horizon="13W")
ax = plots.plot_comparison(ranked)
""",
        ),
    ],
    "Checks without a holdout": [
        Picture(
            "frequency_check",
            "Does the model fit the customers it was fitted on? Points within their intervals "
            "should be at the tops of the bars.",
            """
checks = [evaluate.frequency_check(model, split) for model in (bg, mbg)]
ax = plots.plot_frequency_check(pd.concat(checks))
""",
        ),
        Picture(
            "recency_check",
            "Did customers fall silent when the model says they did? Bars should be in the band.",
            "ax = plots.plot_distribution_check(evaluate.recency_check(mbg, split, draws=100))",
        ),
        Picture(
            "timing_check",
            "Do purchases come at random times, as all these models have it? Bars that are too "
            "low at the left mean that customers buy more regularly than that, too high ones in "
            "bursts.",
            """
end = "1997-09-30"
before = history[history["date"] <= end]
gaps = evaluate.timing_check(mbg, before, observation_end=end, draws=100)
ax = plots.plot_distribution_check(gaps)
""",
        ),
        Picture(
            "spend",
            "Do customers' mean amounts spread as Gamma-Gamma says? Bars should be in the band; "
            "peaks at a few amounts are prices.",
            "ax = plots.plot_spend(evaluate.spend_check(mbg, split))",
        ),
        Picture(
            "dependence",
            "Do customers who buy often spend less or more each time? Gamma-Gamma takes it that "
            "they do not; bars that rise or fall out of the intervals say they do.",
            "ax = plots.plot_dependence(evaluate.dependence_check(mbg, split))",
        ),
        Picture(
            "drift",
            "Are customers acquired later like those before? Cohorts whose intervals miss the "
            "band are not.",
            """
drift = evaluate.drift_check(clv.MBGNBD, split, cohorts="M")
ax = plots.plot_drift(drift, "mean purchase rate")
""",
        ),
    ],
    "What a model says": [
        Picture(
            "frequency_recency",
            "Which customers are worth most? Those who bought often, and just now (top right); "
            "many purchases and then none (bottom right) is worse than few.",
            """
grid = evaluate.frequency_recency_grid(mbg, horizon="39W", max_frequency=15)
ax = plots.plot_frequency_recency(grid)
""",
        ),
        Picture(
            "alive_history",
            "Is this customer still there? The longer the silence compared with the gaps before, "
            "the lower the line; a purchase brings it up again.",
            "ax = plots.plot_alive_history(evaluate.alive_history(mbg, history, 4))",
        ),
        Picture(
            "heterogeneity",
            "How different are the customers? Areas are shares of customers; a wide hill means "
            "that averages say little of any of them.",
            """
differ = evaluate.heterogeneity(mbg)
ax = plots.plot_heterogeneity(differ, "purchase_rate")
""",
        ),
        Picture(
            "forecast",
            "How many purchases will there be, and how sure is that? The bands are of the total: "
            "chance and what is not known of the parameters.",
            """
fan = evaluate.forecast_fan(mbg, split, horizon="39W", draws=300)
ax = plots.plot_forecast(fan)
""",
        ),
        Picture(
            "customer",
            "How sure is the value of one customer? The narrow hill is the uncertainty of the "
            "mean, the wide one what may really come: only the former shrinks with more data.",
            """
drawn = mbg.predict_draws(split, horizon="39W", customers=[1661], draws=2000)
ax = plots.plot_customer(drawn)
""",
        ),
    ],
    "Priors": [
        Picture(
            "prior_predictive",
            "Do the priors allow for data like these? The line should be well within the bars, "
            "and the bars should reach far beyond it.",
            """
implied = clv.MBGNBD().prior_predictive(split)
ax = plots.plot_prior_predictive(implied)
""",
        ),
        Picture(
            "prior_posterior",
            "What did the data teach? A posterior much narrower than its prior comes from the "
            "data, one as wide as its prior from the prior.",
            """
bayesian = clv.MBGNBD().fit(split, method="laplace", draws=4000, seed=1)
ax = plots.plot_prior_posterior(evaluate.prior_posterior(bayesian), "alpha")
""",
        ),
    ],
    "Decisions": [
        Picture(
            "segments",
            "A simulated shop with channels, margins and costs. Who holds the value? Customers to "
            "the left, their CLV to the right; see the page on [decisions](decisions.md).",
            """
shop = clv.simulate_shop(seed=2, customers=1500)
log, end = shop.transactions, shop.observation_end
rfm = clv.rfm_summary(log, observation_end=end, time_unit="W", currency="EUR")
rfm = clv.join_signals(rfm, shop.customers[["customer_id", "channel"]])
model = clv.CLVModel(clv.MBGNBD()).fit(rfm)
predictions = model.predict(
    rfm, horizon="52W", margin=shop.channels["margin"].to_dict(), segment="channel"
)
tiers = clv.segment_customers(predictions, by="value")
table = clv.segment_table(model, tiers, predictive=False)
ax = plots.plot_segments(table)
""",
        ),
        Picture(
            "lorenz",
            "How unevenly is it spread, within each channel and over all?",
            'ax = plots.plot_lorenz(business.lorenz_table(predictions, by="channel"))',
        ),
        Picture(
            "segment_comparison",
            "Is a customer of one channel worth more than one of the others, and how sure is it?",
            """
pairs = clv.compare_segments(model, predictions, by="channel", against="rest")
ax = plots.plot_segment_comparison(pairs)
""",
        ),
        Picture(
            "cohorts",
            "Do customers come back? A row per quarter of acquisition; hatched cells are the "
            "model's forecast.",
            """
cohorts = clv.cohort_table(log, by="Q", model=model, max_age=8, observation_end=end)
ax = plots.plot_cohorts(cohorts, "retention")
""",
        ),
        Picture(
            "cohort_curves",
            "What has each cohort brought in per customer, and what will it?",
            'ax = plots.plot_cohort_curves(cohorts, "cumulative_revenue")',
        ),
        Picture(
            "payback",
            "Have customers paid back what acquiring them cost? Realised, by channel.",
            """
paid = business.payback_table(
    log,
    "Q",
    cac=shop.channels["cac"].to_dict(),
    margin=shop.channels["margin"].to_dict(),
    channel="channel",
    observation_end=end,
)
ax = plots.plot_payback(paid)
""",
        ),
        Picture(
            "payback_curve",
            "When will a new customer have paid it? Expected by a model per channel.",
            """
models = {
    name: clv.CLVModel(clv.MBGNBD()).fit(rfm[rfm["channel"] == name])
    for name in ("search", "social")
}
curve = business.payback_curve(
    models, horizon="104W", cac=shop.channels["cac"].to_dict(), margin=0.35, every="8W", draws=100
)
ax = plots.plot_payback_curve(curve)
""",
        ),
        Picture(
            "tornado",
            "What if one thing changed? What the model implies for the CLV of all customers.",
            "ax = plots.plot_tornado(business.tornado_table(model, predictions, 0.05))",
        ),
        Picture(
            "allocation",
            "Where should a budget go? What is spent on each channel, what it is expected to "
            "bring, and what the next unit would.",
            """
channels = clv.segment_table(model, predictions, by="channel", interval=None)
response = business.ElasticResponse(elasticity=(0.1, 0.03), spend=700.0, of="clv_total")
plan = clv.allocate_budget(channels, 2000.0, response=response, spend_all=False)
ax = plots.plot_allocation(plan.table)
""",
        ),
        Picture(
            "frontier",
            "How large should it be? The best gain, less the budget, on average and with caution.",
            """
frontier = business.budget_frontier(
    channels,
    [500, 1000, 2000, 3000, 4000, 5000],
    response=response,
    objective=["mean", "lower_quantile"],
)
ax = plots.plot_frontier(frontier, quantity="net_gain")
""",
        ),
        Picture(
            "uplift",
            "Did a campaign pay? The difference between treated customers and controls, as it is "
            "and with what had been predicted as a covariate.",
            """
campaign = shop.customers[["customer_id", "channel", "campaign"]].assign(
    value=shop.customers["customer_id"].map(shop.truth["value"]),
    predicted=shop.customers["customer_id"].map(predictions.set_index("customer_id")["clv"]),
)
effects = clv.evaluate_uplift(
    campaign, treatment="campaign", control="control", segment="channel", covariate="predicted"
)
ax = plots.plot_uplift(effects)
""",
        ),
        Picture(
            "clv_trend",
            "Is it getting better? The value of the customer base as successive refits saw it.",
            """
refits = []
for weeks in (26, 13, 0):
    as_of = end - pd.Timedelta(weeks=weeks)
    known = log[log["date"] < as_of + pd.Timedelta(days=1)]
    summary = clv.rfm_summary(known, observation_end=as_of, time_unit="W", currency="EUR")
    refit = clv.CLVModel(clv.MBGNBD()).fit(summary)
    table = refit.predict(summary, horizon="52W", margin=0.35)
    history = business.append_history(Path(folder) / "history.parquet", refit, table)
    refits.append((refit, table))
ax = plots.plot_clv_trend(business.clv_trend(history))
""",
        ),
        Picture(
            "clv_change",
            "And what moved it: new customers, changed behaviour, changed parameters.",
            "ax = plots.plot_clv_change(business.explain_change(*refits[1], *refits[2]))",
        ),
    ],
}


def run(code: str, page: dict[str, Any]) -> Any:
    """Run a block as the page's reader would, and return the Axes it leaves."""
    page.pop("ax", None)
    exec(compile(code, "docs/make_gallery.py", "exec"), page)
    return page.get("ax")


def keep(figure: Any, path: Path) -> None:
    """Save a figure as a small PNG; equal drawings give equal files."""
    from PIL import Image

    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=_DPI, facecolor="white", metadata={"Software": None})
    # A picture of few colours: a third of the size, and no difference to see.
    picture = Image.open(drawn).convert("RGB")
    few = picture.quantize(_COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


def block(code: str) -> str:
    """The code as Markdown."""
    return f"```python\n{code.strip()}\n```\n"


def page_text() -> str:
    """The page, without running anything."""
    parts = [INTRODUCTION, block(SET_UP)]
    for title, pictures in GROUPS.items():
        parts.append(f"## {title}\n")
        for picture in pictures:
            image = f"![{picture.text.split('?')[0]}?](images/gallery/{picture.name}.png)\n"
            parts += [picture.text + "\n", block(picture.code), image]
    return "\n".join(parts)


def main() -> None:
    """Run the code, keep the pictures, write the page."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    IMAGES.mkdir(parents=True, exist_ok=True)
    page: dict[str, Any] = {}
    run(SET_UP, page)
    for pictures in GROUPS.values():
        for picture in pictures:
            ax = run(picture.code, page)
            keep(ax.figure, IMAGES / f"{picture.name}.png")
            plt.close(ax.figure)
    (HERE / "gallery.md").write_text(page_text())


if __name__ == "__main__":
    main()
