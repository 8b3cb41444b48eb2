"""Tables of segments as people paste them into a slide or a mail."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from clvpredict.errors import OptionError, did_you_mean

_Kind = Literal["money", "number", "count", "share", "multiple"]
_MARKDOWN = re.compile(r"([\\|*_`<>\[\]])")
_MISSING = "n/a"


class _Shown(NamedTuple):
    header: str
    kind: _Kind


# {after} is "52 weeks".
_KNOWN = {
    "customers": _Shown("Customers", "count"),
    "share_of_customers": _Shown("Share of customers", "share"),
    "clv": _Shown("CLV per customer", "money"),
    "clv_total": _Shown("CLV in total", "money"),
    "value_total": _Shown("Value in total, what may come", "money"),
    "net_clv": _Shown("Net CLV per customer", "money"),
    "net_clv_total": _Shown("Net CLV in total", "money"),
    "net_value_total": _Shown("Net value in total, what may come", "money"),
    "share_of_value": _Shown("Share of CLV", "share"),
    "p_alive": _Shown("P(alive) now", "share"),
    "churn_probability": _Shown("Churned by now", "share"),
    "retention": _Shown("Retained in {after}", "share"),
    "retention_if_alive": _Shown("Retained in {after}, of the alive", "share"),
    "p_purchase": _Shown("P(purchase) in {after}", "share"),
    "expected_purchases": _Shown("Purchases in {after}", "number"),
    "expected_purchases_total": _Shown("Purchases in total", "number"),
    "purchases_total": _Shown("Purchases in total, what may come", "count"),
    "purchase_frequency": _Shown("Purchases a year", "number"),
    "mean_order_value": _Shown("Mean order", "money"),
    "cac": _Shown("CAC", "money"),
    "cac_total": _Shown("CAC in total", "money"),
    "clv_per_cac": _Shown("CLV / CAC", "multiple"),
    "net_clv_per_cac": _Shown("Net CLV / CAC", "multiple"),
    "marketing_cost": _Shown("Marketing per customer", "money"),
    "marketing_cost_total": _Shown("Marketing in total", "money"),
    "cross_sell_rate": _Shown("Cross-sell rate", "share"),
    "cross_sell_coverage": _Shown("Cross-sell known of", "share"),
    "up_sell_rate": _Shown("Up-sell rate", "share"),
    "up_sell_coverage": _Shown("Up-sell known of", "share"),
}
_USUAL = (
    "customers",
    "share_of_customers",
    "clv",
    "clv_total",
    "share_of_value",
    "net_clv",
    "churn_probability",
    "retention",
    "purchase_frequency",
    "mean_order_value",
    "cac",
    "clv_per_cac",
    "net_clv_per_cac",
    "marketing_cost",
    "cross_sell_rate",
    "up_sell_rate",
)


def format_table(
    table: pd.DataFrame, *, columns: Sequence[str] | None = None, intervals: bool = True
) -> pd.DataFrame:
    """Write the numbers of a segment table as text, rounded, with units in the headers.

    Parameters
    ----------
    table : DataFrame
        From :func:`segment_table`.
    columns : sequence of str, optional
        Which of its columns to show, without the ends of their intervals; also `value_total`,
        `net_value_total` and `purchases_total`, which are intervals only. By default what a
        marketing team asks for first, and all signals.
    intervals : bool
        Show intervals: ``"32.0 (29.2 – 34.8)"``.

    Returns
    -------
    DataFrame
        Text, in the order of ``columns``; what is missing is ``"n/a"``.

    Raises
    ------
    OptionError
        If it is no segment table, or columns are not there.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.business import format_table, segment_customers, segment_table
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), time_unit="W", currency="USD")
    >>> model = clv.CLVModel(clv.MBGNBD()).fit(rfm)
    >>> customers = segment_customers(model.predict(rfm, horizon="52W", margin=0.3))
    >>> shown = format_table(segment_table(model, customers, interval=None))
    >>> shown.columns.tolist()[:4]
    ['Segment', 'Customers', 'Share of customers', 'CLV per customer (USD)']
    """
    _check(table)
    if columns is None:
        signals = [c for c in table.columns if c.endswith("_mean")]
        # That something is known of some only must be seen.
        partly = [c for c in table.columns if c.endswith("_coverage") and table[c].iloc[-1] < 1]
        chosen = [c for c in _USUAL if c in table.columns] + signals + partly
    else:
        chosen = [c for c in columns if c != "segment"]
    out: dict[str, Any] = {"Segment": table["segment"].astype(str)}
    for name in chosen:
        if name not in table.columns and f"{name}_pi_lower" not in table.columns:
            known = [c for c in table.columns if not c.endswith(("_lower", "_upper"))]
            raise OptionError(
                f"the table has no column '{name}'. It has: {', '.join(known)}."
                f"{did_you_mean(name, known)}"
            )
        shown = _KNOWN.get(name) or _other(name)
        out[_header(shown, table)] = _cells(table, name, shown.kind, intervals)
    return pd.DataFrame(out)


def to_markdown(
    table: pd.DataFrame, *, columns: Sequence[str] | None = None, intervals: bool = True
) -> str:
    """Write a segment table as Markdown; see :func:`format_table`.

    Parameters
    ----------
    table : DataFrame
        From :func:`segment_table`.
    columns, intervals
        As in :func:`format_table`.

    Returns
    -------
    str
        A table with the row of all customers in bold, and a line that says what it is of.

    Raises
    ------
    OptionError
        As :func:`format_table`.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.business import segment_customers, segment_table, to_markdown
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), time_unit="W")
    >>> model = clv.MBGNBD().fit(rfm)
    >>> customers = segment_customers(model.predict(rfm, horizon="52W"), by="lifecycle")
    >>> table = segment_table(model, customers, interval=None)
    >>> print(to_markdown(table, columns=["customers"]).splitlines()[0])
    | Segment | Customers |
    """
    shown = format_table(table, columns=columns, intervals=intervals)
    last = len(shown) - 1
    lines = [
        _row([_escaped(c) for c in shown.columns]),
        _row([":---", *["---:"] * (len(shown.columns) - 1)]),
    ]
    for number, row in enumerate(shown.itertuples(index=False)):
        cells = [_escaped(cell) for cell in row]
        lines.append(_row([f"**{cell}**" for cell in cells] if number == last else cells))
    return "\n".join([*lines, "", f"*{_escaped(_caption(table, intervals))}*", ""])


def to_html(
    table: pd.DataFrame, *, columns: Sequence[str] | None = None, intervals: bool = True
) -> str:
    """Write a segment table as HTML; see :func:`format_table`.

    Parameters
    ----------
    table : DataFrame
        From :func:`segment_table`.
    columns, intervals
        As in :func:`format_table`.

    Returns
    -------
    str
        A ``<table>`` whose texts are escaped, with the row of all customers in its foot and a
        caption that says what it is of. It brings no colours.

    Raises
    ------
    OptionError
        As :func:`format_table`.

    Examples
    --------
    >>> import clvpredict as clv
    >>> from clvpredict.business import segment_customers, segment_table, to_html
    >>> rfm = clv.rfm_summary(clv.load_cdnow(), time_unit="W")
    >>> model = clv.MBGNBD().fit(rfm)
    >>> customers = segment_customers(model.predict(rfm, horizon="52W"), by="lifecycle")
    >>> to_html(segment_table(model, customers, interval=None))[:23]
    '<table class="segments"'
    """
    shown = format_table(table, columns=columns, intervals=intervals)
    rows = [_html_row(row, "td") for row in shown.itertuples(index=False)]
    return "\n".join(
        [
            '<table class="segments">',
            f"<caption>{html.escape(_caption(table, intervals))}</caption>",
            f"<thead>{_html_row(shown.columns, 'th')}</thead>",
            "<tbody>",
            *rows[:-1],
            "</tbody>",
            f"<tfoot>{rows[-1]}</tfoot>",
            "</table>",
            "",
        ]
    )


def _check(table: Any) -> None:
    if not isinstance(table, pd.DataFrame) or not {"segment", "customers"} <= set(table.columns):
        came = type(table).__name__
        raise OptionError(
            f"this writes the table that segment_table(model, predictions) returns; {came} came."
        )


def _other(name: str) -> _Shown:
    if name.endswith("_coverage"):
        return _Shown(f"{name.removesuffix('_coverage')} known of", "share")
    return _Shown(f"{name.removesuffix('_mean')} (mean)".replace("_", " "), "number")


def _after(table: pd.DataFrame) -> str:
    horizon = table.attrs.get("horizon")
    if horizon is None:
        return "a lifetime"
    return f"{horizon:.4g} {table.attrs.get('time_unit') or 'periods'}"


def _header(shown: _Shown, table: pd.DataFrame) -> str:
    currency = table.attrs.get("currency")
    unit = f" ({currency})" if currency and shown.kind == "money" else ""
    return shown.header.format(after=_after(table)) + unit


def _caption(table: pd.DataFrame, intervals: bool) -> str:
    level = table.attrs.get("interval")
    said = f"Expected over {_after(table)}"
    if table.attrs.get("horizon") is None:
        said = "Expected over the whole lifetime"
    if intervals and level is not None:
        said += f"; in brackets {100 * level:.3g} % intervals"
    return f"{said}."


def _cells(table: pd.DataFrame, name: str, kind: _Kind, intervals: bool) -> list[str]:
    """Texts of a column, all rounded alike."""
    point = table[name].to_numpy(np.float64) if name in table else None
    stem = name if f"{name}_lower" in table else f"{name}_pi"
    between = None
    if f"{stem}_lower" in table and (intervals or point is None):
        between = table[[f"{stem}_lower", f"{stem}_upper"]].to_numpy(np.float64, copy=True)
        between[between[:, 0] == between[:, 1]] = np.nan  # all of all is no estimate
    known = [v for v in (point, between) if v is not None]
    decimals = _decimals(np.concatenate([v.ravel() for v in known]), kind)
    out = []
    for row in range(len(table)):
        text = "" if point is None else _text(point[row], kind, decimals)
        if between is not None and np.isfinite(between[row]).all():
            low, high = (_text(v, kind, decimals, unit=False) for v in between[row])
            spread = f"{low} – {high}" + (" %" if kind == "share" else "")
            text = f"{text} ({spread})" if text else spread
        out.append(text or _MISSING)
    return out


def _decimals(values: Any, kind: _Kind) -> int:
    if kind == "count":
        return 0
    if kind == "multiple":
        return 1
    sizes = np.abs(values[np.isfinite(values)])
    largest = float(sizes.max()) if sizes.size else 0.0
    if kind == "share":
        some = sizes[sizes > 0]
        return int(bool(some.size) and float(some.min()) < 0.01)
    return 0 if largest >= 1000 else 1 if largest >= 10 else 2


def _text(value: float, kind: _Kind, decimals: int, *, unit: bool = True) -> str:
    if not np.isfinite(value):
        return _MISSING if np.isnan(value) else "\N{INFINITY}"
    scaled = 100 * value if kind == "share" else value
    # Not "−0".
    text = f"{round(scaled, decimals) + 0.0:,.{decimals}f}".replace("-", "\N{MINUS SIGN}")
    return text + (" %" if kind == "share" and unit else "×" if kind == "multiple" and unit else "")


def _escaped(text: object) -> str:
    return " ".join(_MARKDOWN.sub(r"\\\1", str(text)).split())


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _html_row(cells: Any, tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(str(c))}</{tag}>" for c in cells) + "</tr>"
