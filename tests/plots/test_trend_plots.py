"""Pictures of a trend and of what moved: what is drawn is what the table says."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from clvpredict.errors import DataError, OptionError
from clvpredict.plots import plot_clv_change, plot_clv_trend


def trend(segments=("search", "social"), refits=4):
    rows = [
        (pd.Timestamp("2024-01-31") + pd.DateOffset(months=i), s, 100, 1000.0 * (k + 1) + i, k > 0)
        for i in range(refits)
        for k, s in enumerate(segments)
    ]
    table = pd.DataFrame(rows, columns=["as_of", "segment", "customers", "total", "refitted"])
    table["mean"] = table["total"] / 100
    for name in ("total", "mean"):
        table[f"{name}_lower"], table[f"{name}_upper"] = 0.9 * table[name], 1.1 * table[name]
    said = {"of": "clv", "by": "channel", "interval": 0.9, "currency": "EUR"}
    table.attrs = {**said, "horizon_days": 364.0}
    return table


def change():
    table = pd.DataFrame(
        {
            "segment": "all",
            "part": ["before", "new customers", "customers gone", "behaviour", "after"],
            "kind": ["level", "change", "change", "change", "level"],
            "customers": [10, 5, 0, 10, 15],
            "value": [1000.0, 400.0, 0.0, -150.0, 1250.0],
        }
    )
    table["lower"], table["upper"] = table["value"] - 20, table["value"] + 20
    table.attrs = {"of": "clv", "by": None, "interval": 0.9, "currency": "EUR"}
    table.attrs |= {"before": "2024-06-30", "after": "2024-12-31", "horizon_days": 364.0}
    return table


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_trend_draws_each_segment_with_its_band(style):
    with plt.style.context(style):
        ax = plot_clv_trend(trend())
    lines = {line.get_label(): line for line in ax.lines}
    assert lines["search"].get_ydata().tolist() == [1000.0, 1001.0, 1002.0, 1003.0]
    assert len(ax.collections) == 2
    assert ax.get_title() == (
        "Customer lifetime value by channel, refit by refit (band: 90 % credible interval)"
    )
    assert ax.get_ylabel() == "Customer lifetime value, total, next 364 days (EUR)"
    assert ax.get_xlabel() == "Predictions as of"
    # Refits without new parameters are hollow: three of "search", all but its first.
    hollow = [line for line in ax.lines if line.get_linestyle() == "None"]
    assert [len(line.get_xdata()) for line in hollow] == [3]


def test_trend_per_customer_and_with_many_segments():
    given = plt.subplots()[1]
    ax = plot_clv_trend(trend(), per_customer=True, ax=given)
    assert ax is given
    assert ax.lines[0].get_ydata()[0] == 10.0
    assert "per customer" in ax.get_ylabel()
    many = plot_clv_trend(trend([f"s{i}" for i in range(12)]))
    assert not many.collections
    assert "band" not in many.get_title()
    assert len(plot_clv_trend(trend(["all"], refits=1)).lines) == 1


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_waterfall_goes_from_before_to_after(style):
    with plt.style.context(style):
        ax = plot_clv_change(change())
    bars = [(bar.get_y(), bar.get_y() + bar.get_height()) for bar in ax.patches]
    # Who left are nobody, and not drawn; each part begins where the last one ended.
    np.testing.assert_allclose(bars, [(0, 1000), (1000, 1400), (1400, 1250), (0, 1250)])
    assert [t.get_text() for t in ax.texts] == ["1,000", "+400", "\N{MINUS SIGN}150", "1,250"]
    assert [t.get_text() for t in ax.get_xticklabels()][1] == "New\ncustomers\n(5)"
    assert ax.get_title() == (
        "What moved customer lifetime value\n2024-06-30 to 2024-12-31, 90 % credible intervals"
    )
    assert bars[1][0] < bars[1][1]
    assert ax.patches[1].get_facecolor() != ax.patches[2].get_facecolor()


def test_waterfall_of_a_segment_and_without_intervals():
    table = pd.concat([change(), change().assign(segment="social")], ignore_index=True)
    table.attrs = {**change().attrs, "by": "channel"}
    ax = plot_clv_change(table.drop(columns=["lower", "upper"]), segment="social")
    assert ax.get_title().endswith("2024-06-30 to 2024-12-31, channel social")
    assert len(ax.patches) == 4


def test_other_tables_are_refused():
    with pytest.raises(OptionError, match=r"clv_trend\(history\).*lacks"):
        plot_clv_trend(change())
    with pytest.raises(OptionError, match="explain_change"):
        plot_clv_change(trend())
    with pytest.raises(OptionError, match="segment='socal' is not in this table"):
        plot_clv_change(change(), segment="socal")
    with pytest.raises(DataError, match="totals before and after are missing"):
        plot_clv_change(change().iloc[1:])
