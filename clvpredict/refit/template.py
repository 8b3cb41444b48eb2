"""The commented configuration that ``clvpredict init`` writes."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

_TEXT = """\
# A scheduled job of clvpredict. Check this file: clvpredict check THIS_FILE
# Run the job: clvpredict refit THIS_FILE
#
# A line such as "#key = value" is switched off and shows the default, or an example where it says
# so; take the # away to change it. Relative paths start at the folder of this file. Passwords
# do not belong here: write ${NAME} in database, hooks and uri, and set NAME in the environment.

[job]
name = {name}  # in records and logs
store = {store}  # folder of runs and versions
#seed = 0  # the same seed and the same data give the same predictions

# Where the transactions are: files, or a database.
[source]
path = {path}  # CSV or Parquet: a file, a pattern, a folder, or a list of them
# Instead of path, a database (example) and a table or a query (examples):
#database = "postgresql://${PGUSER}:${PGPASSWORD}@localhost:5432/shop"  # or "sqlite:///shop.sqlite"
#table = "orders"
#query = "select customer_id, date, amount from orders"
customer_id = {customer_id}  # names of columns
date = {date}
amount = {amount}  # false: there is no money
#loaded_at = "loaded_at"  # example: when a row arrived; --as-of leaves later arrivals out
#unknown_ids = []  # ids that mean nobody, such as ["", "guest"]; their rows are left out
#incremental = false  # true: read only what is new, of a source that only grows
#late_days = 14  # of an incremental source: rows may arrive so many days late
#attempts = 5  # how often a source that cannot be reached is tried
#first_wait = 1.0  # seconds before the second attempt; they double each time

# How transactions become one row per customer.
[summary]
time_unit = {time_unit}  # "D" days, "W" weeks, ...
#collapse = "D"  # purchases within one "h", "D" or "W" are one
#returns = "net"  # negative amounts: "net" (taken from the purchases of their period; what comes
# back in a later period is left out and counted: see return_rate), "drop" or "error"
#timezone = "UTC"
#currency = "EUR"  # example: a label of the amounts
#observation_start = 2024-01-01  # example: customers of earlier days are left out

# What a delivery must be like; otherwise nothing is published. false: not checked.
[checks]
#min_rows = 1
#min_customers = 30
#max_unknown_ids = 0.02  # share of the rows
#min_rows_kept = 0.999  # share of the rows of the last run that are still there
#min_customers_kept = 0.95  # share of the customers that were predicted last
#new_rows = [0.2, 5.0]  # new rows a day, as multiples of what was usual
#max_amount_shift = 0.5  # population stability index of new amounts against earlier ones
#max_median_ratio = 3.0  # median amount of new rows against earlier ones, either way
#max_largest_ratio = 20.0  # largest amount of new rows against earlier ones
#max_duplicates = 0.05  # share of new rows that are exact copies, beyond that of earlier rows
#max_age_days = false  # days between the newest row and today, such as 2: finds a dead source
#compare_runs = 6  # how many of the last runs are compared with

# What is fitted. The best candidate that passes the gate is published.
[model]
candidates = ["mbg/nbd"]  # of "bg/nbd", "mbg/nbd", "nbd"
#method = "laplace"  # "mle", "map", "laplace", "nuts" or "auto"

# Examples: priors of single parameters, in the time unit and the currency.
#[model.priors]
#r = {lognormal = [0.0, 1.0]}  # mu and sigma of the logarithm
#a = {halfnormal = 2.0}
#b = {gamma = [2.0, 1.0]}  # alpha and beta

# What is predicted of every customer.
[predict]
horizons = {horizons}  # the first is the main one
#interval = 0.9
#draws = 500
#discount_rate = 0.1  # a year
#discounting = "continuous"  # "continuous", "monthly", "none" or "lifetimes"
#margin = 1.0  # share of the amounts that is earned; 30 % is 0.3
#fallback_spend = 20.0  # example: for customers whose spend is not known
#recalibrate = false  # correct those of the first horizon by eight vintages; takes minutes, and
# cannot be had with costs

# Costs in the currency of the amounts: adds net_clv.
#[predict.costs]
#service_cost = 0.0  # per purchase
#cost_to_serve = 0.0  # per period, while a customer is alive
#marketing_cost = 0.0  # per period, alive or not
#retention_cost = 0.0  # once
#return_rate = 0.0  # share of the amounts that comes back and is not taken off above
#period = "M"

# Adds a column of segments.
#[segments]
#by = "value"  # "value", "lifecycle" or "rfm"
#options = {}  # such as {shares = [0.2, 0.3, 0.5]}

# A new model is published if it passes; else the last published one makes the predictions.
# false: not asked.
[gate]
#horizon = "13W"  # example: of the backtest; by default the main one, at most 13 weeks
#vintages = 3  # how many dates the models are tested at
#every = "4W"  # example: the time between them
#metric = "crps"  # "crps", "log_score", "mae", "rmse", "brier", "value_crps" or "value_mae"
#sample = 20000  # of more customers, about so many are looked at
#margin = 0.02  # a new model may be worse than the last one by this share
#max_bias = 25.0  # percent of all purchases
#max_value_bias = 35.0  # percent of all money
#max_pit_distance = 0.1  # of the predicted distributions
#max_k_hat = 0.7  # of method = "laplace"
#max_r_hat = 1.01  # of method = "nuts"

# When the drift report raises an alarm.
[drift]
#max_stability_index = 0.25
#level = 0.9
#runs = 12  # how many of the last runs are compared with

# How much is kept.
[retention]
#runs = 200
#versions = 12

# Where predictions go: one [[outputs]] per file or table.
[[outputs]]
path = {output}  # .csv or .parquet
#partition = false  # true: a folder, or the rows of a table, per date
#excel_safe = false  # true: text that a spreadsheet would take for a formula is disarmed
# Instead of path, a table of a database (examples):
#database = "sqlite:///shop.sqlite"
#table = "predictions"

# Commands to run when a run has ended, each a list of words; no shell. Known: {name}, {run_id},
# {status}, {exit_code}, {version}, {as_of}, {record}, {predictions}, {message}.
[hooks]
#on_published = []
#on_held_back = []  # the gate said no: the last model made the predictions
#on_failed = []  # such as ["mail", "-s", "{name}: {status}", "crm@example.com"]
#timeout = 60.0  # seconds

# Keeps runs in MLflow too: pip install 'clvpredict[mlflow]'
#[tracking]
#uri = "file:./mlruns"
#experiment = "clvpredict"
#model = true  # with the model

[log]
#format = "text"  # "json": one JSON line per step, on standard output
"""

# Hooks have braces of their own, within quotes.
_ANSWER = re.compile(r"(?<=\w )= \{(\w+)\}(?=\s)")


def template(
    name: str = "shop",
    *,
    path: str | Sequence[str] = "orders/*.csv",
    customer_id: str = "customer_id",
    date: str = "date",
    amount: str | None = "amount",
    time_unit: str = "W",
    horizons: Sequence[str] = ("52W",),
    output: str = "out/predictions.csv",
    store: str = "clvpredict-store",
) -> str:
    """Write the configuration of a job: every option, with its default and what it does.

    Parameters
    ----------
    name : str
        Of the job.
    path : str or list of str
        Of the transactions.
    customer_id, date, amount : str
        Names of their columns; ``amount=None`` where there is no money.
    time_unit : str
        Unit of ages, ``"W"``.
    horizons : list of str
        How far ahead predictions reach, the main one first.
    output : str
        Where predictions go: a ``.csv`` or ``.parquet`` file.
    store : str
        Folder of runs and versions.

    Returns
    -------
    str
        TOML, which :func:`clvpredict.refit.load_config` reads.

    Examples
    --------
    >>> from clvpredict.refit.template import template
    >>> text = template("shop", path="sales.parquet", horizons=["26W"])
    >>> 'path = "sales.parquet"' in text
    True
    """
    answers = {
        "name": name,
        "store": store,
        "path": path,
        "customer_id": customer_id,
        "date": date,
        "amount": False if amount is None else amount,
        "time_unit": time_unit,
        "horizons": list(horizons),
        "output": output,
    }
    return _ANSWER.sub(lambda match: f"= {_toml(answers[match[1]])}", _TEXT)


def _toml(value: object) -> str:
    # Of texts, lists and booleans, TOML and JSON have one way to write in common.
    return json.dumps(value, ensure_ascii=False).replace("\\x7f", "\\\\u007f")
