"""Runs that are killed, and what they leave: FOLDER PLAN, where PLAN is a list of cases as JSON.

Imports everything once and forks a process per run, so that a kill costs as much as the run. The
last line on standard output is JSON: a dict per case, with its kills and the problems found.

What a run computes is of no interest here, so neither gate nor drift report is made.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow.parquet as pq
from jobs import small

import clvpredict as clv
from clvpredict import atomic
from clvpredict.errors import ClvError
from clvpredict.refit import Store, drift, gate, load_config, lock, refit, rollback, targets

CONFIG = """
[job]
name = "shop"
store = "store"
[source]
path = "orders/*.csv"
amount = false
incremental = {incremental}
attempts = 3
first_wait = 0.0
[model]
method = "mle"
[predict]
horizons = ["13W"]
draws = 20
"""
OUTPUTS = {
    "csv": ['path = "out/predictions.csv"'],
    "all": [
        'path = "out/predictions.csv"',
        'path = "days/predictions.parquet"\npartition = true',
        'database = "sqlite:///shop.sqlite"\ntable = "predictions"',
        'database = "duckdb:///shop.duckdb"\ntable = "predictions"\npartition = true',
    ],
}
MONTHS = ("1998-03", "1998-04")
_PATIENCE = 120.0  # seconds; longer is hung
_EARLY = 12  # changes of files of a run that has not looked at what is published yet
_FILE_EVENTS = ("os.rename", "os.remove", "os.rmdir", "os.mkdir")


# --- a shop ---------------------------------------------------------------------------------


def deliver(folder: Path, orders: pd.DataFrame, until: str) -> None:
    (folder / "orders").mkdir(exist_ok=True)
    for month, rows in orders.groupby(orders["date"].dt.strftime("%Y-%m")):
        if str(month) <= until:
            rows.to_csv(folder / "orders" / f"{month}.csv", index=False)


def opened(folder: Path, kind: str) -> None:
    text = CONFIG.format(incremental=str(kind == "all").lower())
    text += "".join(f"[[outputs]]\n{output}\n" for output in OUTPUTS[kind])
    (folder / "shop.toml").write_text(text)


class Judged:
    """A gate that lets the first candidate pass."""

    publish, alarms = True, ()
    chosen = best = "mbg/nbd"

    def as_json(self) -> dict[str, Any]:
        return {"decision": "the first one publishes.", "findings": []}


def judge_nothing(put: Callable[[Any, str, Any], None] = setattr) -> None:
    put(gate, "judge_candidates", lambda *_, **__: Judged())
    put(drift, "drift_report", lambda *_, **__: Judged())


# --- processes ------------------------------------------------------------------------------


class Fuse:
    """Counts what happens, and kills this process at one of these events."""

    def __init__(self, at: int | str | None, wanted: Callable[[str], bool]) -> None:
        self.at, self.wanted = at, wanted
        self.seen: list[str] = []

    def __call__(self, what: str) -> None:
        if not self.wanted(what):
            return
        self.seen.append(what)
        if self.at in (what, len(self.seen) - 1):
            os.kill(os.getpid(), signal.SIGKILL)


def watch(fuse: Fuse) -> None:
    """Let a fuse hear of every change to files, before and after it, and of half-written ones."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _FILE_EVENTS:
            fuse(f"before {event} {Path(os.fsdecode(arguments[0])).name}")

    def wrapped(function: Callable[..., Any], says: str, when: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if "before" in when:
                fuse(f"before {says}")
            out = function(*arguments, **options)
            if "after" in when:
                fuse(f"after {says}")
            return out

        return call

    def copyfile(source: Path, target: Path) -> None:
        written(target.write_bytes, source.read_bytes(), target)

    def write_text(self: Path, text: str, **options: Any) -> None:
        written(self.write_bytes, text.encode(), self)

    def written(write: Callable[[bytes], int], content: bytes, path: Path) -> None:
        write(content[: len(content) // 2])
        fuse(f"in the middle of {path.name}")
        write(content)

    sys.addaudithook(hook)
    os.replace = wrapped(os.replace, "os.replace", "after")
    os.fsync = wrapped(os.fsync, "os.fsync", "before")
    atomic._exchange = wrapped(atomic._exchange, "exchange", "before and after")
    targets.Target.run = wrapped(targets.Target.run, "sql", "before and after")
    shutil.copyfile = copyfile
    Path.write_text = write_text  # type: ignore[assignment,method-assign]


def forked(work: Callable[[], None], log: Path) -> int:
    """Do something in a process of its own; returns its id."""
    sys.stdout.flush()
    if (pid := os.fork()) != 0:
        return pid
    code = 1
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        work()
        code = 0
    except BaseException as error:
        traceback.print_exc()
        code = error.exit_code if isinstance(error, ClvError) else 1
    finally:
        sys.stderr.flush()
        os._exit(code)


def ended(pid: int) -> int:
    """Wait for a process, but not for ever; returns its exit code, or minus a signal."""
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(pid, signal.SIGABRT)
    os.waitpid(pid, 0)
    raise TimeoutError(f"a run hung for {_PATIENCE} s")


def run(
    folder: Path,
    fuse: Fuse | None = None,
    log: Path | None = None,
    wait: float = 0.0,
    back_to: str | None = None,
) -> int:
    """Begin a run of the job in a folder, or a rollback; what came of it is beside its log."""
    log = log or folder.with_name(f"{folder.name}.log")

    def work() -> None:
        if fuse is not None:
            watch(fuse)
        config = load_config(folder / "shop.toml")
        if back_to is not None:
            warnings.filterwarnings("ignore", "partitions of version .* are still there")
            record = rollback(config, back_to)
        else:
            told = None if fuse is None else lambda name, when: fuse(f"step {name} {when}")
            record = refit(config, wait=wait, on_step=told)
        said = {"status": record.status, "seen": [] if fuse is None else fuse.seen}
        said["modules"] = list(sys.modules)
        log.with_suffix(".json").write_bytes(json.dumps(said).encode())

    return forked(work, log)


class Reader:
    """A process that reads the predictions all the time; and what it has seen."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.found = folder.with_name(f"{folder.name}.read")
        self.found.unlink(missing_ok=True)
        self.pid = forked(self._read, folder.with_name(f"{folder.name}.reader.log"))

    def _read(self) -> None:
        signal.signal(signal.SIGTERM, lambda *_: going.clear())
        going, seen = [True], set()
        while going:
            seen.add(self.folder_says())
            time.sleep(0.01)
        self.found.write_text(json.dumps(sorted(seen)))

    def folder_says(self) -> str:
        return f"{csv_of(self.folder)} {sqlite_of(self.folder)}"

    def stop(self) -> set[str]:
        os.kill(self.pid, signal.SIGTERM)
        if ended(self.pid):
            raise RuntimeError(self.folder.with_name(f"{self.folder.name}.reader.log").read_text())
        return {part for both in json.loads(self.found.read_text()) for part in both.split()}


# --- what readers find ----------------------------------------------------------------------


def short(content: bytes | str) -> str:
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def csv_of(folder: Path) -> str:
    """Checksum of the CSV, read in two halves; "none" where there is none."""
    try:
        with (folder / "out" / "predictions.csv").open("rb") as file:
            first = file.read(2000)
            time.sleep(0.0002)
            return short(first + file.read())
    except FileNotFoundError:
        return "none"


def sqlite_of(folder: Path) -> str:
    """Checksum of the table and its manifest, in one transaction."""
    path = folder / "shop.sqlite"
    if not path.exists():
        return "none"
    with contextlib.closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as database:
        database.execute("BEGIN")
        tables = {n for (n,) in database.execute("SELECT name FROM sqlite_master")}
        if not tables:
            return "none"
        rows = database.execute("SELECT * FROM predictions ORDER BY customer_id").fetchall()
        said = database.execute("SELECT version, rows FROM predictions_manifest").fetchall()
        return short(repr((sorted(tables), rows, said)))


def duckdb_of(folder: Path) -> str:
    path = folder / "shop.duckdb"
    if not path.exists():
        return "none"
    with contextlib.closing(duckdb.connect(path)) as database:
        tables = sorted(n for (n,) in database.execute("SHOW TABLES").fetchall())
        if not tables:
            return "none"
        order = "ORDER BY as_of, customer_id"
        rows = database.execute(f"SELECT * FROM predictions {order}").fetchall()
        said = "SELECT version, rows FROM predictions_manifest ORDER BY as_of"
        return short(repr((tables, rows, database.execute(said).fetchall())))


def days_of(folder: Path) -> list[str]:
    """Every file of the partitions, but manifests."""
    files = sorted((folder / "days").rglob("predictions.parquet"))
    return [f"{p.parent.name} {short(p.read_bytes())}" for p in files]


def history_of(folder: Path) -> list[str]:
    path = folder / "store" / "history.parquet"
    if not path.exists():
        return []
    table = pq.read_table(path).to_pandas()
    return [short(rows.to_csv()) for _, rows in table.groupby("as_of")]


def ledger_of(folder: Path) -> list[str]:
    """The rows that the ledger knows, in order; all its parts must be there."""
    path = folder / "store" / "ledger" / "ledger.json"
    if not path.exists():
        return []
    rows: list[str] = []
    for part in json.loads(path.read_text())["parts"]:
        table = pq.read_table(path.parent / part["file"]).to_pandas()
        if len(table) != part["rows"]:
            raise ValueError(f"{part} has {len(table)} rows")
        if part["upto"]:
            table = table[table["date"] < part["upto"]]
        rows += [repr(tuple(row)) for row in table.itertuples(index=False)]
    return sorted(rows)


def all_of(folder: Path) -> dict[str, Any]:
    latest = Store.at(folder / "store").latest()
    return {
        "csv": csv_of(folder),
        "sqlite": sqlite_of(folder),
        "duckdb": duckdb_of(folder),
        "days": days_of(folder),
        "history": history_of(folder),
        "ledger": ledger_of(folder),
        "version": latest and latest.version,
    }


# --- what must be so ------------------------------------------------------------------------


def after_a_kill(folder: Path, old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Find what is neither old nor new, while nobody has mended anything."""
    problems = []
    if not (folder / "store" / "store.json").exists():
        found = {"csv": csv_of(folder), "sqlite": sqlite_of(folder)}
    else:
        store = Store.at(folder / "store")
        found = all_of(folder)
        store.records()
        for version in store.versions():
            version.check()
    for name, content in found.items():
        if content not in (old[name], new[name]):
            problems.append(f"{name} is neither old nor new: {content}")
    said = folder / "out" / "predictions.csv.manifest.json"
    if said.exists():
        manifest = json.loads(said.read_text())
        if manifest["sha256"] not in (old["csv"], new["csv"]):
            problems.append(f"a manifest of neither: {manifest}")
    return problems


def after_the_next(
    folder: Path, new: dict[str, Any], dead: int, runs: int, status: str
) -> list[str]:
    """Find what is not as if nobody had been killed."""
    problems = []
    for name, content in all_of(folder).items():
        if content != new[name]:
            problems.append(f"{name} is {content}, not {new[name]}")
    store = Store.at(folder / "store")
    for path in folder.rglob("*"):
        if path.name.endswith(".tmp") or path.name.startswith("publishing"):
            problems.append(f"{path} was left")
    problems += [f"{path} was left" for path in (folder / "store" / "work").glob("*")]
    for output in (folder / "out", folder / "days"):
        for path in output.rglob("*.manifest.json"):
            said = json.loads(path.read_text())
            if said["sha256"] != short((path.parent / said["file"]).read_bytes()):
                problems.append(f"{path} is of another file")
    if lock.read_owner(store.folder) is not None:
        problems.append("somebody holds the lock")
    statuses = [r.status for r in store.records()]
    # The first runs had ended before anything was killed.
    killed = statuses[1 : len(statuses) - runs]
    # One may be killed when it has written how it ended.
    known = {"crashed", "published", "unchanged"}
    if statuses[0] != status or set(killed) - known or len(killed) > dead:
        problems.append(f"the runs ended so: {statuses}")
    latest = store.latest()
    if latest is None or store.record(latest.run_id).status != "published":
        problems.append(f"what is published is of a run that did not: {statuses}")
    if "running" in statuses:
        problems.append("a run that was killed is not marked")
    if (len(store.version_ids())) != runs + 1:
        problems.append(f"versions: {store.version_ids()}")
    return problems


# --- cases ----------------------------------------------------------------------------------


class Shop:
    """A job with predictions of a month published and another month delivered."""

    def __init__(self, folder: Path, kind: str, first: bool) -> None:
        """Make it; with `first`, nothing is published yet."""
        self.folder, self.kind, self.runs = folder, kind, int(not first)
        template = folder / "template"
        template.mkdir(parents=True)
        opened(template, kind)
        deliver(template, ORDERS, MONTHS[0])
        if not first:
            self.must(template)
            deliver(template, ORDERS, MONTHS[1])
        self.template = template
        whole = self.copy("whole")
        self.old: dict[str, Any] = dict.fromkeys(("csv", "sqlite", "duckdb"), "none")
        self.old |= {"days": [], "history": [], "ledger": [], "version": None}
        if not first:
            self.old = all_of(whole)
        began = time.monotonic()
        said = self.must(whole, Fuse(None, lambda what: True))
        self.seconds = time.monotonic() - began
        self.events: list[str] = said["seen"]
        self.new = all_of(whole)

    def copy(self, name: str, of: Path | None = None) -> Path:
        folder = self.folder / name
        shutil.copytree(of or self.template, folder)
        return folder

    def must(
        self, folder: Path, fuse: Fuse | None = None, back_to: str | None = None
    ) -> dict[str, Any]:
        """Have a run, or a rollback, come to its end."""
        log = folder.with_name(f"{folder.name}.log")
        if (code := ended(run(folder, fuse, back_to=back_to))) != 0:
            raise RuntimeError(f"a run ended with {code}:\n{log.read_text()}")
        said: dict[str, Any] = json.loads(log.with_suffix(".json").read_text())
        preload(said["modules"])
        return said

    def case(
        self, name: str, kill: Callable[[Path], Iterator[str]], of: Path | None = None
    ) -> dict[str, Any]:
        """Kill runs in a copy; what there is must be old or new, and then new."""
        folder = self.copy(name, of)
        kills: list[str] = []
        problems: list[str] = []
        reader = Reader(folder)
        try:
            for what in kill(folder):
                kills.append(what)
                problems += [f"after {what}: {p}" for p in after_a_kill(folder, self.old, self.new)]
            # The next run is not within the minute for which a beginner's files are spared.
            for path in folder.rglob(".*.tmp"):
                os.utime(path, (time.time() - 3600,) * 2)
            begun = (folder / "store" / "store.json").exists()
            known = Store.at(folder / "store").latest() if begun else None
            said = self.must(folder)
            dead = len(kills) + (0 if of is None else 1)
            expected = "unchanged" if said["status"] == "unchanged" else "published"
            if known is not None and known.version == self.new["version"]:
                expected = "unchanged"
            problems += after_the_next(folder, self.new, dead, self.runs, expected)
            seen = reader.stop()
            allowed = {"none"} | {shop[n] for shop in (self.old, self.new) for n in _READ}
            if seen - allowed:
                problems.append(f"a reader saw {seen - allowed}")
        except (RuntimeError, TimeoutError, OSError, ValueError) as error:
            problems.append(f"{type(error).__name__}: {error}")
            with contextlib.suppress(OSError):
                os.kill(reader.pid, signal.SIGKILL)
        if not problems:
            shutil.rmtree(folder)
        return {"case": f"{self.folder.name} {name}", "kills": kills, "problems": problems}

    def kill_at(self, folder: Path, at: int | str, wanted: Callable[[str], bool]) -> bool:
        """Whether a run was killed there."""
        return ended(run(folder, Fuse(at, wanted))) == -signal.SIGKILL


_READ = ("csv", "sqlite")


def everything(what: str) -> bool:
    return True


def boundaries(shop: Shop, case: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """One run after the other is killed at the next boundary between steps."""
    steps = [s for s in shop.events if s.startswith("step")][:: case.get("every", 1)]

    def kill(folder: Path) -> Iterator[str]:
        for step in steps:
            if shop.kill_at(folder, step, everything):
                yield step

    if case.get("chain"):
        yield shop.case("boundaries", kill)
        return
    for number, step in enumerate(steps):
        yield shop.case(f"boundary-{number}", one(shop, step))


def one(shop: Shop, at: int | str) -> Callable[[Path], Iterator[str]]:
    def kill(folder: Path) -> Iterator[str]:
        if shop.kill_at(folder, at, everything):
            yield str(at) if isinstance(at, str) else f"{at}: {shop.events[at]}"

    return kill


def operations(shop: Shop, case: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Kill at changes of files, everywhere or from a step on."""
    begin = shop.events.index(case.get("since", shop.events[0]))
    chosen = range(begin, len(shop.events))
    if "number" in case:
        chosen = sorted(random.Random(case["seed"]).sample(chosen, case["number"]))
    for at in chosen:
        yield shop.case(f"operation-{at}", one(shop, at))


def recovery(shop: Shop, case: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Kill the run that ends what a killed run had begun to publish."""
    begun = shop.copy("begun")
    noted = next(n for n, what in enumerate(shop.events) if "rename .publishing.json" in what)
    if not shop.kill_at(begun, noted + 2, everything):
        raise RuntimeError("a run was not killed")
    ended_by = shop.copy("ended", begun)
    events = shop.must(ended_by, Fuse(None, everything))["seen"]
    last = events.index("step recover end")
    if not any("predictions.csv" in what for what in events[:last]):
        raise RuntimeError("the next run did not end it")
    rng = random.Random(case["seed"])
    early = rng.sample(range(_EARLY), _EARLY)
    chosen = sorted(rng.sample(range(_EARLY, last), min(case["number"], last - _EARLY)))
    for number, late in enumerate(chosen):
        places = [early[number % _EARLY], late] if case.get("twice") else [late]

        def kill(folder: Path, places: list[int] = places) -> Iterator[str]:
            for at in places:
                if shop.kill_at(folder, at, everything):
                    yield f"{at}: {events[at]} (after {places[: places.index(at)]})"

        yield shop.case(f"recovery-{late}", kill, begun)


def moments(shop: Shop, case: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Kill at random times, some runs several times."""
    rng = random.Random(case["seed"])

    def kill(folder: Path) -> Iterator[str]:
        for _ in range(rng.choice([1, 1, 2, 3])):
            pid = run(folder)
            after = rng.uniform(0, shop.seconds)
            time.sleep(after)
            os.kill(pid, signal.SIGKILL)
            killed = ended(pid) == -signal.SIGKILL
            yield f"{'killed' if killed else 'too late'} after {after:.3f} s"

    for number in range(case["number"]):
        yield shop.case(f"moment-{number}", kill)


def rollbacks(shop: Shop, case: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Kill rollbacks; the next one ends them."""
    published, first = shop.copy("published"), shop.old["version"]
    shop.must(published)
    whole = shop.copy("back", published)
    events = shop.must(whole, Fuse(None, everything), back_to=first)["seen"]
    back = all_of(whole)
    problems = [] if back["csv"] == shop.old["csv"] else ["a whole rollback went elsewhere"]
    for at in sorted(random.Random(case["seed"]).sample(range(len(events)), case["number"])):
        folder = shop.copy(f"rollback-{at}", published)
        kills = []
        if ended(run(folder, Fuse(at, everything), back_to=first)) == -signal.SIGKILL:
            kills.append(f"{at}: {events[at]}")
        problems += after_a_kill(folder, shop.new, back)
        # One that had published already leaves nothing to go back to, but outputs to complete.
        with contextlib.suppress(RuntimeError):
            shop.must(folder, back_to=first)
        found = all_of(folder)
        problems += [f"{n} is {found[n]}, not {back[n]}" for n in back if found[n] != back[n]]
        problems += [f"{p} was left" for p in folder.rglob("publishing*")]
        if list(Store.at(folder / "store").withdrawn()) != [shop.new["version"]]:
            problems.append("what was taken back is not withdrawn")
        yield {"case": f"{shop.folder.name} {folder.name}", "kills": kills, "problems": problems}
        problems = []


def together(shop: Shop, case: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Several runs at once; with `wait` all come to their end, else only the first."""
    folder, number, wait = shop.copy("together"), case["number"], case.get("wait", 0.0)
    logs = [folder.with_name(f"together-{n}.log") for n in range(number)]
    pids = [run(folder, log=logs[0], wait=wait)]
    while not (folder / "store" / lock.FILE).exists():
        time.sleep(0.002)
    pids += [run(folder, log=log, wait=wait) for log in logs[1:]]
    codes = [ended(pid) for pid in pids]
    problems = [] if codes == case["codes"] else [log.read_text()[-2000:] for log in logs]
    statuses = [r.status for r in Store.at(folder / "store").records()]
    expected = dict(case["statuses"])
    if {s: statuses.count(s) for s in expected} != expected or len(statuses) != number + shop.runs:
        problems.append(f"the runs ended so: {statuses}")
    problems += [
        f"{name} is {content}"
        for name, content in all_of(folder).items()
        if content != shop.new[name]
    ]
    shutil.rmtree(folder)
    yield {"case": f"{number} together", "kills": [], "problems": problems}


KINDS = {
    "together": together,
    "boundaries": boundaries,
    "operations": operations,
    "recovery": recovery,
    "moments": moments,
    "rollbacks": rollbacks,
}


def main(folder: Path, plan: list[dict[str, Any]]) -> None:
    warnings.simplefilter("error")
    judge_nothing()
    shops: dict[tuple[str, bool], Shop] = {}
    outcomes = []
    for case in plan:
        key = (case["outputs"], case.get("first", False))
        if key not in shops:
            shops[key] = Shop(folder / f"{key[0]}{'-first' * key[1]}", *key)
        for outcome in KINDS[case["kind"]](shops[key], case):
            print(outcome, file=sys.stderr, flush=True)
            outcomes.append(outcome)
    print(json.dumps(outcomes))


def preload(names: list[str]) -> None:
    """Import what a run has imported, without the threads that a run leaves."""
    for name in names:
        if name != "__main__" and name not in sys.modules:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)


ORDERS = small(clv.load_cdnow(), 100)

if __name__ == "__main__":
    where = Path(sys.argv[1])
    where.mkdir(parents=True, exist_ok=True)
    main(where, json.loads(sys.argv[2]))
