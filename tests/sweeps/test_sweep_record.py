"""sweep.json: what is written is what is read, also from earlier versions; what is wrong is named in one line."""

import json
from dataclasses import replace

import pytest
from made_sweeps import make_search, make_sweep, point

from epochwise.common.errors import InputError
from epochwise.common.files import read_json, write_json
from epochwise.config.schema import BEFORE
from epochwise.sweeps.record import Point, SweepRecord
from epochwise.sweeps.search import Search


@pytest.fixture
def sweep(tmp_path) -> SweepRecord:
    refused = Point(1, "seed=1", ["seed=1"], point(1, seed=1).parameters, refused="no such file")
    return make_sweep(tmp_path, ["seed"], point(0, seed=0), refused, failures={1: "no such file"}, link="http://runs")


def test_what_is_written_is_what_is_read(sweep):
    assert SweepRecord.read(sweep.folder) == sweep
    assert sweep.failures == {1: "no such file"} and sweep.points[1].fingerprint is None
    changed = replace(sweep, failures={}, published="a server", published_digest="abc")
    written = changed.write()
    assert SweepRecord.read(sweep.folder) == written == replace(changed, changed=written.changed)
    assert (changed.unpublished().link, changed.unpublished().published, changed.unpublished().published_digest) == (
        *("", "", ""),
    )


def test_a_record_of_version_0_1_is_read(tmp_path):
    earlier = {
        **{"id": "day_time", "command": "epochwise run -m seed=0", "experiment": "epochwise", "varied": ["seed"]},
        "points": [
            {
                **{"job": 0, "name": "seed=0", "overrides": ["seed=0"], "parameters": {"seed": 0, "train.epochs": 2}},
                **{"fingerprint": "f", "data_sha256": "d", "refused": ""},
            }
        ],
        **{"validates_on_test": False, "reuse": True, "rerun": False, "failures": {"0": "boom"}},
        **{"link": "http://runs", "published": "a server", "told": "abc"},
    }
    write_json(tmp_path / "sweep.json", earlier)
    sweep = SweepRecord.read(tmp_path)
    assert (sweep.published_digest, sweep.failures, sweep.points[0].name) == ("abc", {0: "boom"}, "seed=0")
    sweep.write()
    written = read_json(tmp_path / "sweep.json")
    assert written.pop("changed") >= sweep.changed
    assert written == {
        **{key: value for key, value in earlier.items() if key != "told"},
        # With the parameters that are newer, so that its runs are those of sweeps of today with these values.
        "points": [earlier["points"][0] | {"bracket": 0, "parameters": BEFORE | {"seed": 0, "train.epochs": 2}}],
        "published_digest": "abc",
        "mixed": False,
        "search": {},
        "search_ended": False,
    }


def test_the_time_of_change_can_be_kept(sweep, monkeypatch):
    before = SweepRecord.read(sweep.folder)
    monkeypatch.setattr("epochwise.sweeps.record.now", lambda: before.changed + 5)
    replace(before, link="elsewhere").write(keep_time=True)
    assert SweepRecord.read(sweep.folder) == replace(before, link="elsewhere")
    assert before.write().changed == SweepRecord.read(sweep.folder).changed == before.changed + 5


WRONG = {
    "id": 7,
    "varied": "seed",
    "points": {},
    "reuse": "yes",
    "failures": {"a": "boom"},
    "published_digest": None,
    "search_ended": "yes",
    "points.0": 3,
    "points.0.job": "0",
    "points.0.parameters": {"seed": 0},
    "points.0.overrides": None,
}


@pytest.mark.parametrize("key", WRONG)
def test_a_wrong_value_is_named_in_one_line(sweep, key):
    content = read_json(sweep.folder / "sweep.json")
    *parents, last = [int(word) if word.isdecimal() else word for word in key.split(".")]
    item = content
    for parent in parents:
        item = item[parent]
    item[last] = WRONG[key]
    (sweep.folder / "sweep.json").write_text(json.dumps(content))
    with pytest.raises(InputError) as refused:
        SweepRecord.read(sweep.folder)
    message = str(refused.value)
    assert f"{sweep.folder / 'sweep.json'}: not a sweep's record: " in message and "\n" not in message


@pytest.mark.parametrize("wrong", [{"rungs": []}, {"rungs": [3, 1]}, {"rungs": [0]}, {"eta": 1}, {"keep_ties": 1}])
def test_a_wrong_value_of_a_search_is_named_in_one_line(tmp_path, wrong):
    ((key, value),) = wrong.items()
    sweep = make_search(tmp_path)
    with pytest.raises(InputError, match="not a search's record: ") as refused:
        Search.read(replace(sweep, search=sweep.search | wrong))
    assert str(refused.value).endswith(f"search.{key} is {value!r}")


def test_a_missing_or_damaged_file_is_refused(tmp_path):
    assert not SweepRecord.exists(tmp_path)
    with pytest.raises(InputError, match="not readable"):
        SweepRecord.read(tmp_path)
    (tmp_path / "sweep.json").write_text("{}")
    assert SweepRecord.exists(tmp_path)
    with pytest.raises(InputError, match="not a sweep's record: id is None"):
        SweepRecord.read(tmp_path)
