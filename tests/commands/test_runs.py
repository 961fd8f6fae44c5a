"""`epochwise runs`: which runs are listed, in which order, and what is said of them."""

import csv
import io
import json

import pytest
from conftest import A_RECORD
from made_sweeps import bare_project, finish  # noqa: F401
from omegaconf import OmegaConf

from epochwise.commands.runs import COLUMNS, runs
from epochwise.common.errors import InputError
from epochwise.common.files import write_json

pytestmark = pytest.mark.usefixtures("bare_project")


@pytest.fixture
def four_runs(tmp_path):
    """Two runs of a sweep, a single one, and one that was killed before it was evaluated."""
    for number, (place, epochs, score) in enumerate(
        [("multirun/a/0", 2, 0.91), ("multirun/a/1", 4, 0.95), ("outputs/b", 4, 0.93)]
    ):
        sweep = {"sweep.id": "a"} if "multirun" in place else {}
        params = {"train.epochs": epochs, "model.dense_dropout": number / 4, "model.filters": [32, number]}
        params |= {"train.nesterov": number == 1, "train.weight_decay": None, "model.parameters.width": number}
        logged = {"params": params, "tags": sweep, "dataset": {}}
        own = {"name": f"epochs={epochs}", "started": 1000 * number + 1000, "mlflow": logged, "published": "a server"}
        finish(tmp_path / place, number, score, score - 0.01, epochs=epochs, **own)
    (tmp_path / "outputs/c").mkdir()
    own = {"run_id": "killed", "status": "KILLED", "started": 500, "mlflow": {"params": {"train.epochs": 9}}}
    write_json(tmp_path / "outputs/c/run.json", A_RECORD | own)
    (tmp_path / "outputs/damaged").mkdir()
    (tmp_path / "outputs/damaged/run.json").write_text("{")


def listed(capsys, *conditions: str, sort: str = "-started", limit: int | None = None) -> list[str]:
    runs(conditions, sort, limit, "json")
    return [row["run"] for row in json.loads(capsys.readouterr().out)]


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ((), ["run2", "run1", "run0", "killed"]),
        (("status=FINISHED",), ["run2", "run1", "run0"]),
        (("status!=FINISHED",), ["killed"]),
        (("train.epochs=4",), ["run2", "run1"]),
        (("epochs=4", "val_accuracy>0.94"), ["run1"]),
        (("val_accuracy<=0.93",), ["run2", "run0"]),
        (("sweep=a",), ["run1", "run0"]),
        (("model.dense_dropout>=0.25", "sweep!=a"), ["run2"]),
        (("name=epochs=4",), ["run2", "run1"]),
        (("model.filters=[32,1]",), ["run1"]),
        (("train.nesterov=false",), ["run2", "run0"]),
        (("train.weight_decay=null", "epochs=2"), ["run0"]),
        (("model.parameters.width>=1",), ["run2", "run1"]),
        (("train.weight_decay>0",), []),
        (("train.weight_decay!=0", "epochs=2"), ["run0"]),
        (("train.nesterov>0",), []),
        (("published=",), ["killed"]),
        (("run=run",), ["run2", "run1", "run0"]),
        (("run!=run",), ["killed"]),
        (("run=run1",), ["run1"]),
        (("sweep!=",), ["run1", "run0"]),
    ],
)
def test_conditions(four_runs, capsys, conditions, expected):
    if any(condition.startswith(("model.", "train.")) for condition in conditions):
        conditions = (*conditions, "status=FINISHED")
    assert listed(capsys, *conditions) == expected


def test_a_run_without_a_parameter_of_another_network_meets_no_comparison_with_it(tmp_path, capsys):
    finish(tmp_path / "outputs/a", 0)
    cfg = {"seed": 0, "prepare": {"source": "digits", "validation_size": 300, "train_size": 0, "split_seed": 0}}
    OmegaConf.save(OmegaConf.create(cfg | {"model": {}, "train": {"epochs": 2}}), tmp_path / "outputs/a/config.yaml")
    assert listed(capsys, "model.parameters.width>2") == listed(capsys, "model.parameters.width=2") == []
    assert listed(capsys, "model.parameters.width!=2") == listed(capsys, "model.parameters.width=") == ["run0"]


@pytest.mark.parametrize("column", ["run", "sweep", "name"])
def test_a_text_of_digits_is_not_compared_as_a_number(tmp_path, capsys, column):
    """As a number 0012 would be 12, and 12e45 would be too large for any."""
    for number, text in enumerate(("0012", "12e45", "12")):
        own = {"run_id": f"{number}", column: text} if column == "name" else {"run_id": text}
        own |= {"mlflow": {"tags": {"sweep.id": text}}, "started": 1000 - number}
        finish(tmp_path / "outputs" / str(number), number, **own)
    for number, text in enumerate(("0012", "12e45")):
        assert listed(capsys, f"{column}={text}") == [str(number) if column == "name" else text]


def test_sorting_and_a_limit(four_runs, capsys):
    assert listed(capsys, sort="-val_accuracy") == ["run1", "run2", "run0", "killed"]
    assert listed(capsys, sort="val_accuracy") == ["run0", "run2", "run1", "killed"], "without a value always last"
    assert listed(capsys, sort="started", limit=2) == ["killed", "run0"]


def test_csv_and_json_have_all_columns(four_runs, capsys):
    runs((), "run", None, "csv")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert list(rows[0]) == list(COLUMNS) and rows[0]["run"] == "killed" and rows[0]["val_accuracy"] == ""
    runs(("run=run1",), "run", None, "json")
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["val_accuracy"], row["started"], row["directory"]) == (
        0.95,
        "1970-01-01T00:00:02+00:00",
        "multirun/a/1",
    )


def test_the_table_names_what_a_narrow_terminal_lacks(four_runs, capsys, monkeypatch):
    runs((), "-started", 3, "table")
    printed = capsys.readouterr().out
    assert "val_accuracy" in printed and "3 of 4 runs; --limit 4 lists all" in printed
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "60"}.items():
        monkeypatch.setenv(name, value)
    runs((), "-started", None, "table")
    printed = capsys.readouterr().out
    assert "not shown at this width: published, directory" in printed and "FINISHED" in printed


def test_without_runs(capsys):
    runs((), "-started", None, "table")
    assert capsys.readouterr().out == "no run is here yet; `epochwise run` makes one\n"
    runs((), "-started", None, "json")
    assert json.loads(capsys.readouterr().out) == []


@pytest.mark.parametrize(
    "wrong",
    ["epoch=2", "FINISHED", "=2", "train.epoch=2", "model.parameters=1", "tracking.enabled=true"]
    + ["status=finished", "val_accuracy>abc", "epochs=two"],
)
def test_a_wrong_condition_is_refused(wrong):
    with pytest.raises(InputError, match=wrong):
        runs((wrong,), "-started", None, "table")
    with pytest.raises(InputError, match="--sort"):
        runs((), "val_acc", None, "table")


@pytest.mark.parametrize(
    "condition, sort, says",
    [
        (
            "foo=1",
            "name",
            "foo=1: unknown key foo; there is run, name, status, .*, published, and the keys of params.yaml",
        ),
        ("epoch=1", "name", "epoch=1: unknown key epoch; did you mean epochs\\?"),
        ("tracking.enabled=true", "name", "unknown key tracking.enabled; there is run, .*, such as train.epochs$"),
        ("epochs=1", "nope", "--sort nope: unknown key nope; there is run, name, status, .*, sweep, published$"),
        ("epochs=1", "-val_acc", "--sort -val_acc: unknown key val_acc; did you mean val_accuracy\\?"),
    ],
)
def test_what_is_asked_for_instead_of_an_unknown_key(condition, sort, says):
    with pytest.raises(InputError, match=says):
        runs((condition,), sort, None, "table")
