"""Download runs from MLflow: a whole run directory, or only the record of the run that a model is from."""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from epochwise.common.directory_locks import try_lock_directory
from epochwise.common.errors import InputError, RunError
from epochwise.runs.directory import RECORD, REPORT, RunDirectory
from epochwise.runs.record import FINISHED, RunRecord
from epochwise.tracking.address import store_exists
from epochwise.tracking.models import MODEL_FILE, NAME
from epochwise.tracking.redacted_errors import warn
from epochwise.tracking.registry import explained
from epochwise.tracking.result_archive import ARCHIVE, unpack
from epochwise.tracking.run_mirror import EVALUATION
from epochwise.tracking.server import Run, Server

LENGTH_OF_ID = 32  # hexadecimal digits in the id of an MLflow run
MAX_CANDIDATES = 10  # runs with the same model, of which one is enough


def fetch_run(root: Path, run_id: str, directory: Path) -> None:
    """Download a run into `directory`, which becomes its run directory.

    Raises InputError if MLflow does not have the run, or has no model of it, and RunError if it does not answer.
    """
    if not store_exists(root):
        raise InputError(f"{run_id}: no run with a model here or in MLflow, which has no database yet")
    directory.mkdir(parents=True, exist_ok=True)
    with explained(f"{run_id}: no run with a model here or in MLflow"):
        client = Server(root).client
        run_id = _whole_id(client, run_id)
        for item in [*client.list_artifacts(run_id), *client.list_artifacts(run_id, EVALUATION)]:
            if not item.is_dir and item.path != REPORT:  # which names the directory that it was made for
                _download(client, run_id, item.path, directory)
        _download(client, run_id, f"{NAME}/{MODEL_FILE}", directory)
        archive = directory / ARCHIVE
        if archive.is_file():  # runs of earlier versions have its files one by one
            unpack(archive, RunDirectory(directory))
            archive.unlink()


def _whole_id(client: Any, given: str) -> str:
    """The id of the only run in MLflow whose id begins so; `given` itself if it is whole. Raises InputError."""
    if len(given) == LENGTH_OF_ID or not given.isalnum():
        return given
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found = [run.info.run_id for run in client.search_runs(experiments, f"attributes.run_id LIKE '{given}%'")]
    if len(found) > 1:
        raise InputError(f"the ids of {len(found)} runs in MLflow begin so; give more of the id")
    return str(found[0]) if found else given


def fetch_finished(server: Server, experiment: str, wanted: Mapping[str, Path]) -> dict[str, Path]:
    """Download the finished runs with certain fingerprints, each into the directory that `wanted` gives for it.

    Returns the part of `wanted` that could be downloaded. A fault of MLflow costs a warning.
    """
    fetched = {}
    try:
        found = server.client.get_experiment_by_name(experiment)
        for fingerprint, directory in wanted.items() if found else ():
            for run in _finished_runs(server, [found.experiment_id], "fingerprint", fingerprint, 1):
                if _fetch_complete(server.root, run.info.run_id, fingerprint, RunDirectory(directory)):
                    fetched[fingerprint] = directory
    except Exception as error:  # MLflow raises errors of several libraries
        warn(error, "finished runs that only MLflow has are run again")
    return fetched


def fetch_record_of_model(root: Path, model_sha256: str, path: Path) -> bool:
    """Write run.json of the run that made a model to `path`. False if MLflow has no such finished run.

    `model_sha256` is that of model.keras. If MLflow does not answer, that costs a warning.
    """
    if not store_exists(root):
        return False
    try:
        server = Server(root)
        experiments = [found.experiment_id for found in server.client.search_experiments()]
        for run in _finished_runs(server, experiments, "model_sha256", model_sha256, MAX_CANDIDATES):
            with tempfile.TemporaryDirectory() as scratch:
                record = RunRecord.read(_download(server.client, run.info.run_id, RECORD, Path(scratch)))
            if record.model_sha256 == model_sha256:
                record.write(path)
                return True
    except Exception as error:  # MLflow raises errors of several libraries; or the record is damaged
        warn(error, "the record of the model's run is not taken from MLflow")
    return False


def _finished_runs(server: Server, experiments: list[str], tag: str, value: str, limit: int) -> list[Run]:
    """At most `limit` finished runs of which `tag` has this value, the latest first."""
    query = f"tags.{tag} = '{value}' AND attributes.status = '{FINISHED}'"
    return list(server.client.search_runs(experiments, query, max_results=limit))


def _fetch_complete(root: Path, run_id: str, fingerprint: str, run: RunDirectory) -> bool:
    """Download a run into `run`, and return True, if MLflow has all of it and no process works in the directory.

    run.json is moved into the directory last: a directory with a run.json counts as a run.
    """
    scratch = RunDirectory(run.path.with_name(f".{run.path.name}.fetched"))
    shutil.rmtree(scratch.path, ignore_errors=True)  # of a process that was killed in here
    try:
        fetch_run(root, run_id, scratch.path)
        record = scratch.read_complete()
        if not record or record.fingerprint != fingerprint:
            return False
        with try_lock_directory(root, run.path) as free:
            if not free:  # a worker of a sweep whose parent was killed may still be ending here
                return False
            run.clear()
            run.path.mkdir(parents=True, exist_ok=True)
            for path in sorted(scratch.path.iterdir(), key=lambda path: path.name == RECORD):
                path.replace(run.path / path.name)
        return True
    except (InputError, RunError) as error:
        warn(error, "the run is run again")
        return False
    finally:
        shutil.rmtree(scratch.path, ignore_errors=True)


def _download(client: Any, run_id: str, artifact: str, folder: Path) -> Path:
    """Download one artifact into `folder` itself, whatever folder the artifact is in. Returns its path."""
    path = folder / Path(artifact).name
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        Path(client.download_artifacts(run_id, artifact, scratch)).replace(path)
    return path
