"""One project, and everything in it at once: nothing is lost, and nothing is mixed up."""

import hashlib
import json
import subprocess
import time
from collections import Counter

import mlflow
import pytest
from conftest import clean_environment

from epochwise.common.files import read_json
from epochwise.runs import directory as rundir
from epochwise.tracking import run_mirror as view
from epochwise.tracking import server as tracking

COMMANDS = (
    ("epochwise", "run", "-m", "train.epochs=1,2", "seed=0,1"),
    ("epochwise", "run", "-m", "train.epochs=2,3", "seed=1,2"),  # shares a trajectory, and a point, with the first
    ("dvc", "repro"),
)
POINTS, SHARED = 8, 1


@pytest.mark.long
def test_two_sweeps_a_pipeline_a_publish_and_the_pages_at_once(project):
    environment = clean_environment() | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "env": environment}
    started = [subprocess.Popen(command, **quiet) for command in COMMANDS]
    pages = [f"--backend-store-uri=sqlite:///{project.path}/mlflow.db", "--workers=1", "--port=5061"]
    deadline = time.monotonic() + 120
    while not (project.path / "mlflow.db").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    server = subprocess.Popen(["mlflow", "server", *pages], env=environment, stderr=subprocess.DEVNULL)
    try:
        while any(process.poll() is None for process in started):
            project.ok("epochwise", "publish")
        said = [process.communicate(timeout=600)[0] for process in started]
    finally:
        server.terminate()
        server.wait()
    assert [process.returncode for process in started] == [0] * len(COMMANDS), "\n".join(said)
    assert not any("warning" in text for text in said), "\n".join(said)
    project.ok("epochwise", "publish")
    assert "up to date" in project.ok("dvc", "status")

    folders = [project.path / "models", *rundir.all_of(project.path)]
    records = {record["token"]: (folder, record) for folder in folders if (record := rundir.read_record(folder))}
    assert POINTS - SHARED + 1 <= len(records) <= POINTS + 1
    client = mlflow.MlflowClient(tracking.tracking_uri(project.path))
    names = {found.experiment_id: found.name for found in client.search_experiments()}
    runs = [run for run in client.search_runs(list(names)) if not names[run.info.experiment_id].endswith("-sweeps")]
    assert Counter(run.data.tags[tracking.TOKEN] for run in runs) == dict.fromkeys(records, 1)
    for run in runs:
        folder, record = records[run.data.tags[tracking.TOKEN]]
        assert (names[run.info.experiment_id], run.info.status) == ("epochwise", "FINISHED")
        assert run.data.tags["weights_sha256"] == record["weights_sha256"]
        told = json.loads(run.data.tags[view.FILES])
        for name in (rundir.HISTORY, rundir.MODEL):
            assert told[name] == hashlib.sha256((folder / name).read_bytes()).hexdigest()
    by_fingerprint = {}
    for _, record in records.values():
        same = by_fingerprint.setdefault(record["fingerprint"], record["weights_sha256"])
        assert same == record["weights_sha256"]
    for path in project.path.glob("multirun/*/*/leaderboard.json"):
        assert sum(row["n"] for row in json.loads(path.read_text())["rows"]) == 4
        assert not read_json(path)["failed"]
