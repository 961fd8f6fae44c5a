"""`train.epochs` in params.yaml, `dvc exp run -S`, `epochwise run` and `-m`: one key, one meaning, one result."""

import mlflow
import pytest
from omegaconf import OmegaConf

from epochwise.common.files import read_json


@pytest.mark.slow
def test_one_key_in_four_places(project):
    project.ok("epochwise", "run", "train.epochs=3")
    project.ok("epochwise", "run", "-m", "train.epochs=1,3", "sweep.rerun=true")
    project.edit("params.yaml", "epochs: 2", "epochs: 3")
    project.ok("dvc", "repro")
    project.ok("git", "checkout", "params.yaml")
    before = read_json(project.path / "models/run.json")
    project.ok("dvc", "exp", "run", "--force", "-S", "train.epochs=3")
    after = read_json(project.path / "models/run.json")

    single = sorted(project.path.glob("outputs/*/*"))
    multi = sorted(project.path.glob("multirun/*/*/*/"))
    assert [path.name for path in multi] == ["0", "1"]
    records = [read_json(folder / "run.json") for folder in (*single, multi[1])] + [before, after]
    assert len(records) == 4
    assert len({record["run_id"] for record in records}) == 4
    for same in ("weights_sha256", "fingerprint", "trajectory", "epochs"):
        assert len({record[same] for record in records}) == 1, same
    shorter = read_json(multi[0] / "run.json")
    assert shorter["epochs"] == 1
    assert shorter["trajectory"] == before["trajectory"]
    assert OmegaConf.load(multi[0] / "config.yaml").train.epochs == 1

    client = mlflow.MlflowClient(f"sqlite:///{project.path / 'mlflow.db'}")
    kept = client.search_runs([client.get_experiment_by_name("epochwise").experiment_id])
    assert sorted(run.data.params["train.epochs"] for run in kept) == ["1", "3", "3", "3", "3"]
    assert {run.info.status for run in kept} == {"FINISHED"}
