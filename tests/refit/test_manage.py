"""Going back to what was published before, and runs side by side."""

import json
import math
import shutil

import pandas as pd
import pytest
import store_samples as samples

from clvpredict import read_table
from clvpredict.errors import ArtefactError, DataWarning, OptionError
from clvpredict.refit.difference import difference
from clvpredict.refit.errors import LockedError, PublishError
from clvpredict.refit.lock import lock
from clvpredict.refit.manage import find, rollback, run_of
from clvpredict.refit.store import Store
from clvpredict.refit.versions import PREDICTIONS

RUNS = [f"2026112{n}T090000Z-00000{n}" for n in range(5)]
PARTITIONED = 'path = "days/p.csv"\npartition = true'


@pytest.fixture
def shop(tmp_path):
    return Store.at(tmp_path / "store", create=True)


@pytest.fixture
def config(tmp_path):
    return samples.config_at(tmp_path)


@pytest.fixture
def three(config, shop):
    """Three versions, published one after the other."""
    return [samples.published(config, shop, RUNS[n], 1.0 + n) for n in range(3)]


def clv_of(folder):
    return read_table(folder / "out" / "predictions.csv")["clv"]


# --- rollback -------------------------------------------------------------------------------


def test_back_to_what_was_before_and_before_that(tmp_path, config, shop, three):
    record = rollback(config)
    assert (record.status, record.exit_code) == ("rolled back", 0)
    assert (record.version, record.champion) == (three[1].id, three[2].id)
    assert record.ended
    assert record.outputs[0]["run_id"] == record.run_id
    assert shop.record(record.run_id) == record
    assert clv_of(tmp_path).equals(samples.predictions(2.0)["clv"])
    assert shop.latest().version == three[1].id
    assert record.run_id in shop.withdrawn()[three[2].id]["why"]
    rollback(config)
    assert clv_of(tmp_path).equals(samples.predictions(1.0)["clv"])
    assert set(shop.withdrawn()) == {three[1].id, three[2].id}
    with pytest.raises(OptionError, match="no version to go back to"):
        rollback(config)


def test_back_to_one_that_is_named_and_forth_again(tmp_path, config, shop, three):
    rollback(config, three[0].id[:9])
    assert set(shop.withdrawn()) == {three[2].id}
    assert shop.previous() is None
    # Who takes back a rollback condemns nothing.
    record = rollback(config, RUNS[2])
    assert record.version == three[2].id
    assert record.facts == {"withdrawn": None}
    assert shop.withdrawn() == {}
    assert clv_of(tmp_path).equals(samples.predictions(3.0)["clv"])
    assert rollback(config).version == three[0].id


def test_there_must_be_something_to_go_back_to(tmp_path, config, shop):
    with pytest.raises(OptionError, match="no version to go back to"):
        rollback(config)
    version = samples.published(config, shop, RUNS[0], 1.0)
    before = samples.contents(tmp_path)
    samples.a_record(shop, RUNS[1], status="rejected", exit_code=3)
    for to, match in (
        (None, "no version to go back to"),
        (version.id, "is what is published"),
        ("latest", "is what is published"),
        (RUNS[1], "ended as 'rejected' and made no version"),
        ("nonsense", "no run 'nonsense'"),
    ):
        with pytest.raises(OptionError, match=match):
            rollback(config, to)
    after = samples.contents(tmp_path)
    assert {k: v for k, v in after.items() if RUNS[1] not in k} == before


def test_a_damaged_version_is_not_gone_back_to(tmp_path, config, shop, three):
    three[1].file(PREDICTIONS).write_bytes(b"")
    before = samples.contents(tmp_path)
    with pytest.raises(ArtefactError, match="damaged"):
        rollback(config)
    assert samples.contents(tmp_path) == before
    assert rollback(config, three[0].id).version == three[0].id


def test_a_rollback_waits_for_nobody_unless_told(config, shop, three):
    with lock(shop.folder, RUNS[3]), pytest.raises(LockedError, match=RUNS[3]):
        rollback(config)
    assert shop.latest().version == three[2].id


def test_a_rollback_that_fails_says_so_and_is_ended_by_the_next(tmp_path, config, shop, three):
    (tmp_path / "out" / "predictions.csv").unlink()
    (tmp_path / "out" / "predictions.csv").mkdir()
    with pytest.raises(PublishError, match="is a folder"):
        rollback(config)
    record = shop.record("latest")
    assert (record.status, record.exit_code) == ("failed", 8)
    assert record.error["type"] == "PublishError"
    assert shop.latest().version == three[2].id
    (tmp_path / "out" / "predictions.csv").rmdir()
    # It goes on where it was, and then one further back.
    assert rollback(config).version == three[0].id
    assert set(shop.withdrawn()) == {three[1].id, three[2].id}


def test_partitions_that_stay_are_told(tmp_path, shop):
    config = samples.config_at(tmp_path, PARTITIONED)
    samples.published(config, shop, RUNS[0], 1.0, as_of="2026-11-20")
    samples.published(config, shop, RUNS[1], 2.0, as_of="2026-11-21")
    with pytest.warns(DataWarning, match=r"as_of=2026-11-21.p\.csv\. Remove"):
        assert rollback(config).as_of == "2026-11-20"
    assert (tmp_path / "days" / "as_of=2026-11-21" / "p.csv").exists()


# --- finding --------------------------------------------------------------------------------


def test_versions_are_found_by_whatever_names_them(config, shop, three):
    with pytest.raises(OptionError, match="nothing is published yet"):
        find(Store.at(shop.folder.parent / "new", create=True), "latest")
    assert find(shop, "latest")[0] == three[2]
    assert find(shop, three[0].id)[1].run_id == RUNS[0]
    version, record = find(shop, RUNS[1][:10])
    assert (version, record.run_id) == (three[1], RUNS[1])


# --- difference -----------------------------------------------------------------------------


def test_runs_are_found_by_the_versions_that_they_made(config, shop, three):
    made = shop.records()[-1]
    assert run_of(shop, str(made.version)[:10]) == run_of(shop, made.run_id) == made
    assert run_of(shop, "latest") == shop.records()[0]
    shutil.rmtree(shop.run_folder(made.run_id))
    with pytest.raises(OptionError, match="no run is left"):
        run_of(shop, str(made.version))


def test_runs_side_by_side(config, shop):
    text = config.text
    sides = {}
    for n, (scale, margin, drop) in enumerate([(1.0, 0.02, ("b",)), (2.0, 0.05, ("007",))]):
        version = samples.add(shop, scale, f"2026-11-2{n}", drop)
        sides[n] = version
        finding = {"criterion": "bias", "subject": "mbg/nbd", "value": 3.5 * n, "ok": True}
        samples.a_record(
            shop,
            RUNS[n],
            version=version.id,
            as_of=f"2026-11-2{n}",
            config_text=f"{text}[gate]\nmargin = {margin}\n",
            gate={"findings": [finding]},
            input={"rows": 10 + n, "customers": 3, "left_out": {}},
        )
    found = difference(shop, RUNS[0], sides[1].id)
    assert found.a == {
        "version": sides[0].id,
        "run_id": RUNS[0],
        "as_of": "2026-11-20",
        "status": "published",
    }
    assert found.b["run_id"] == RUNS[1]

    alpha = found.parameters.set_index("parameter").loc["alpha"]
    assert (alpha["a"], alpha["b"], alpha["change"]) == (6.183, 2 * 6.183, 1.0)
    assert math.isnan(alpha["a_lower"])
    assert alpha["overlap"] is None  # parameters that were given have no intervals
    assert found.parameters["parameter"].to_list() == ["r", "alpha", "a", "b", "p", "q", "v"]

    assert found.gate.to_numpy().tolist() == [["bias", "mbg/nbd", 0.0, 3.5]]
    assert found.input.to_numpy().tolist() == [["rows", 10, 11], ["customers", 3, 3]]
    assert found.options.to_numpy().tolist() == [["gate.margin", 0.02, 0.05]]

    a, b = (samples.predictions(s).set_index("customer_id")["clv"] for s in (1.0, 2.0))
    totals = found.totals.set_index("name")
    assert totals.loc["customers"].to_list() == [3, 3]
    assert totals.loc["clv", "a"] == pytest.approx(a.drop("b").sum())
    assert totals.loc["clv", "b"] == pytest.approx(b.drop("007").sum())

    assert found.counts == {"both": 2, "new": 1, "gone": 1}
    assert found.moved_by == "clv"
    change = (b - a)[["=1", "c, d"]]
    expected = change.loc[change.abs().sort_values(ascending=False).index]
    assert found.customers["customer_id"].to_list() == expected.index.to_list()
    assert found.customers["change"].to_list() == pytest.approx(expected.to_list())
    assert len(difference(shop, RUNS[0], RUNS[1], customers=1).customers) == 1

    plain = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert plain["options"] == [{"name": "gate.margin", "a": 0.02, "b": 0.05}]
    assert plain["parameters"][1]["overlap"] is None
    assert set(plain) == set(vars(found))


def test_a_version_beside_itself_differs_in_nothing(config, shop, three):
    found = difference(shop, "latest", three[2].id)
    assert found.options.empty
    assert (found.parameters["change"] == 0).all()
    assert (found.customers["change"] == 0).all()
    with pytest.raises(OptionError, match="0 or more"):
        difference(shop, "latest", "latest", customers=-1)


def test_intervals_overlap_or_not():
    from clvpredict.refit.difference import _parameters

    one = {("M", "r"): {"estimate": 2.0, "lower": 1.0, "upper": 3.0}}
    for lower, upper, overlap in ((2.5, 4.0, True), (0.5, 1.0, True), (3.5, 4.0, False)):
        other = {("M", "r"): {"estimate": 3.0, "lower": lower, "upper": upper}}
        for pair in ((one, other), (other, one)):
            assert _parameters(*pair)["overlap"].to_list() == [overlap]
    only = _parameters(one, {})
    assert only["b"].isna().all()
    assert only["overlap"].to_list() == [None]


def test_ids_of_another_type_are_compared_as_text(shop):
    from clvpredict.refit.difference import _joined

    a = pd.DataFrame({"customer_id": [1, 2], "expected_purchases": [1.0, 2.0]})
    b = pd.DataFrame({"customer_id": ["2", "x"], "expected_purchases": [5.0, 2.0], "clv": [1, 1]})
    both, counts, by = _joined(a, b)
    assert by == "expected_purchases"
    assert counts == {"both": 1, "new": 1, "gone": 1}
    assert both[["customer_id", "change"]].to_numpy().tolist() == [["2", 3.0]]
