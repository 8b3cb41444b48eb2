"""Make data/sample/cdnow_sample.csv from the CDNOW log inside the PyPI package lifetimes.

Usage: ``python scripts/make_sample.py`` writes the file; with ``--check`` it writes nothing, and
exits with 1 unless the file is, byte for byte, what would be written.
"""

import argparse
import csv
import importlib.util
import io
import sys
from datetime import datetime
from pathlib import Path

TARGET = Path(__file__).resolve().parents[1] / "data" / "sample" / "cdnow_sample.csv"
ROWS, CUSTOMERS = 6_919, 2_357


def find_raw() -> Path:
    """Path of the raw log; lifetimes itself is not imported."""
    spec = importlib.util.find_spec("lifetimes")
    if spec is None or spec.origin is None:
        raise SystemExit('lifetimes is not installed: pip install "lifetimes>=0.11.3"')
    return Path(spec.origin).parent / "datasets" / "CDNOW_sample.txt"


def tidy(raw: str) -> str:
    """
    Turn lines of "master id, sample id, yyyymmdd, quantity, amount" into CSV, in the same order.

    The master id is the one kept, which makes the sample a subset of the master. Amounts stay
    the decimal strings they were.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["customer_id", "date", "quantity", "amount"])
    customers = set()
    rows = 0
    for line in raw.splitlines():
        master_id, _, day, quantity, amount = line.split()
        date = datetime.strptime(day, "%Y%m%d").date()
        writer.writerow([int(master_id), date.isoformat(), int(quantity), amount])
        customers.add(master_id)
        rows += 1
    if (rows, len(customers)) != (ROWS, CUSTOMERS):
        raise SystemExit(
            f"expected {ROWS} rows of {CUSTOMERS} customers, found {rows} of {len(customers)}"
        )
    return out.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    check = parser.parse_args().check

    content = tidy(find_raw().read_text(encoding="ascii")).encode("ascii")
    if not check:
        TARGET.write_bytes(content)
        print(f"wrote {TARGET}")
    elif not TARGET.exists() or TARGET.read_bytes() != content:
        sys.exit(f"{TARGET} is not what this script makes; run it without --check")


if __name__ == "__main__":
    main()
