"""What can be wrong with transactions before their values are looked at, and what to type."""

from __future__ import annotations

from collections.abc import Sequence

from clvpredict.errors import Problem, did_you_mean

# Words in a column's name that tell its role, where the spelling is not near.
_HINTS = {
    "id": ("customer", "client", "cust", "user", "member", "account"),
    "date": ("date", "timestamp", "time", "day"),
    "amount": ("amount", "revenue", "spend", "sales", "price", "total", "value"),
    "label": ("channel", "source", "campaign", "segment", "country"),
    "loaded": ("loaded", "arrived", "inserted", "created", "ingested"),
}
OPTIONS = {
    "id": "customer_id",
    "date": "date",
    "amount": "amount",
    "label": "channel",
    "loaded": "loaded_at",
}


class ColumnError(Exception):
    """A column cannot be read; carries the problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.what)
        self.problem = problem


def missing_column(role: str, name: str, columns: Sequence[object]) -> Problem:
    """The transactions lack a column."""
    found = [str(c) for c in columns]
    guess = did_you_mean(name, found) or _by_role(role, found)
    shown = ", ".join(found[:12]) + (", ..." if len(found) > 12 else "")
    fix = f"name it: {OPTIONS[role]}='{guess.split("'")[1] if guess else '...'}'"
    if role == "amount":
        fix += ", or say amount=None for a summary of frequency only"
    return Problem(f"no column '{name}' among: {shown or '(none)'}.{guess}", fix)


def repeated_column(name: str, times: int) -> Problem:
    """Several columns have the name."""
    return Problem(
        f"{times} columns are named '{name}'", "rename them, so that it is clear which is meant"
    )


def unsupported_type(role: str, name: str, kind: str) -> Problem:
    """A column has a type that its role cannot have."""
    column = f"transactions[{name!r}]"
    if role == "id":
        what = f"customer ids in '{name}' are of type {kind}, not integers, strings or UUIDs"
        if "float" in kind or "double" in kind:
            what += " (integers turn into floats where ids were missing)"
            fix = f'drop rows without an id, then {column} = {column}.astype("int64")'
        else:
            fix = f"{column} = {column}.astype(str)"
    elif role == "date":
        what = f"dates in '{name}' are of type {kind}, not dates, timestamps or ISO strings"
        fix = (
            f'for 19970930: {column} = pd.to_datetime({column}, format="%Y%m%d"); for seconds '
            f'since 1970: {column} = pd.to_datetime({column}, unit="s")'
        )
        if "period" in kind:
            fix = f"{column} = {column}.dt.start_time"
        elif "int" not in kind and "float" not in kind:
            fix = f"{column} = pd.to_datetime({column})"
    elif role == "label":
        what = f"'{name}' is of type {kind}, not text or whole numbers, so it tells no groups"
        fix = f"{column} = {column}.astype(str)"
    else:
        what = f"amounts in '{name}' are of type {kind}, not numbers"
        fix = f"{column} = pd.to_numeric({column}), or say amount=None"
    return Problem(what, fix)


def no_text_in_place(role: str, name: str, backend: str) -> Problem:
    """Text dates or amounts are read by DuckDB only."""
    to = {"date": "timestamp", "amount": "float64"}[role]
    return Problem(
        f"'{name}' is text, which is not read in place on the backend '{backend}'",
        f"transactions = transactions.mutate({{'{name}': transactions['{name}'].cast('{to}')}})",
    )


def no_zone_in_place(name: str, backend: str) -> Problem:
    """Instants are converted to wall time by DuckDB only."""
    return Problem(
        f"'{name}' has a time zone, which is not converted in place on the backend '{backend}'",
        "make a timestamp without a zone (wall time) on that backend first",
    )


def not_a_source(value: object) -> Problem:
    """The transactions are of a type that is not read."""
    module = type(value).__module__.partition(".")[0]
    fix = "pass pd.DataFrame(transactions)"
    if module == "pyspark":
        fix = "pass ibis.pyspark.connect(spark).table('...'), which is computed in Spark"
    return Problem(
        f"cannot read transactions of type {type(value).__name__}; they can be a pandas or polars "
        "frame, a pyarrow table or reader, CSV or Parquet files, or an Ibis table",
        fix,
    )


def unreadable(path: str, reason: str) -> Problem:
    """A file cannot be read."""
    reader = "read_csv" if ".csv" in path.lower() else "read_..."
    return Problem(
        f"cannot read '{path}': {reason}",
        f"check the file, or read it yourself and pass the frame: pd.{reader}({path!r}, ...)",
    )


def not_in_place(backend: str, reason: str) -> Problem:
    """A backend lacks something that the summary needs."""
    return Problem(
        f"the Ibis backend '{backend}' cannot compute the summary: {reason}",
        "have it computed here: pass transactions.to_pyarrow()",
    )


def _by_role(role: str, found: Sequence[str]) -> str:
    for word in _HINTS[role]:
        for column in found:
            if word in column.lower():
                return f" Did you mean '{column}'?"
    return ""
