"""One project, and everything in it at once: nothing is lost, and nothing is mixed up."""

import json
import subprocess
from collections import Counter

import mlflow
import pytest
from conftest import clean_environment, wait_for

from epochwise.common.files import file_digest, read_json
from epochwise.pipeline.directories import pipeline_run, run_directories
from epochwise.tracking.address import tracking_uri
from epochwise.tracking.result_archive import ARCHIVE, pack, packed_files
from epochwise.tracking.run_mirror import FILES_TAG
from epochwise.tracking.server import TOKEN_TAG

COMMANDS = (
    ("epochwise", "run", "-m", "train.epochs=1,2", "seed=0,1"),
    ("epochwise", "run", "-m", "train.epochs=2,3", "seed=1,2"),  # shares a trajectory, and a point, with the first
    ("dvc", "repro"),
)
POINTS, SHARED = 8, 1


@pytest.mark.long
def test_two_sweeps_a_pipeline_a_publish_and_the_pages_at_once(project, tmp_path):
    environment = clean_environment() | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "env": environment}
    started = [subprocess.Popen(command, **quiet) for command in COMMANDS]
    pages = [f"--backend-store-uri=sqlite:///{project.path}/mlflow.db", "--workers=1", "--port=5061"]
    wait_for((project.path / "mlflow.db").exists)
    server = subprocess.Popen(["mlflow", "server", *pages], env=environment, stderr=subprocess.DEVNULL)
    try:
        while any(process.poll() is None for process in started):
            project.ok("epochwise", "publish")
        printed = [process.communicate(timeout=600)[0] for process in started]
    finally:
        server.terminate()
        server.wait()
    assert [process.returncode for process in started] == [0] * len(COMMANDS), "\n".join(printed)
    assert not any("warning" in text for text in printed), "\n".join(printed)
    project.ok("epochwise", "publish")
    assert "up to date" in project.ok("dvc", "status")

    directories = [pipeline_run(), *run_directories(project.path)]
    by_token = {record.token: (run, record) for run in directories if (record := run.read_record())}
    assert POINTS - SHARED + 1 <= len(by_token) <= POINTS + 1
    client = mlflow.MlflowClient(tracking_uri(project.path))
    names = {found.experiment_id: found.name for found in client.search_experiments()}
    runs = [run for run in client.search_runs(list(names)) if not names[run.info.experiment_id].endswith("-sweeps")]
    assert Counter(run.data.tags[TOKEN_TAG] for run in runs) == dict.fromkeys(by_token, 1)
    for run in runs:
        directory, record = by_token[run.data.tags[TOKEN_TAG]]
        assert (names[run.info.experiment_id], run.info.status) == ("epochwise", "FINISHED")
        assert run.data.tags["weights_sha256"] == record.weights_sha256
        logged = json.loads(run.data.tags[FILES_TAG])
        pack([path for path in packed_files(directory, evaluated=True) if path.is_file()], tmp_path / ARCHIVE)
        for path in (directory.config, directory.model, tmp_path / ARCHIVE):
            assert logged[path.name] == file_digest(path)
    weights = {}
    for _, record in by_token.values():
        assert weights.setdefault(record.fingerprint, record.weights_sha256) == record.weights_sha256
    for path in project.path.glob("multirun/*/*/leaderboard.json"):
        assert sum(row["n"] for row in read_json(path)["rows"]) == 4
        assert not read_json(path)["failed"]
