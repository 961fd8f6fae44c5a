"""The MLflow run that shows a run directory. All that it holds is read from the directory, so it can be made at any
time: while the run is at work, after an outage, in a fresh clone, on another server.
"""

import json
import tempfile
from pathlib import Path

from epochwise.common.errors import InputError
from epochwise.common.files import digest, read_json, write_json
from epochwise.common.locks import alone
from epochwise.runs import directory as rundir
from epochwise.tracking.server import LONGEST_TAG, TOKEN, Server
from epochwise.training import history
from epochwise.training.learning_rate import learning_rate

FILES = "files"  # the tag that says what each artifact's sha256 is
EVALUATION = "evaluation"  # the folder of what evaluate has made


class View:
    """One run directory in MLflow; the pipeline's has its evaluation in a folder of its own, `reports`.

    Methods raise whatever MLflow raises, and may then be called again, also in another process.
    """

    def __init__(self, server: Server, folder: Path, reports: Path | None = None):
        self.server, self.folder, self.reports = server, folder, reports or folder
        self.experiment_id: str | None = None
        self.run_id: str | None = None
        self.deleted = False  # by a user; it stays so
        self.told: set[tuple[str, int]] = set()  # metric and step

    @property
    def link(self) -> str:
        return self.server.link(self.experiment_id, self.run_id)

    def open(self, record: dict) -> None:
        """Find the run, or make it: with its name, tags, parameters and data set."""
        if record["status"] != "RUNNING" and self.server.is_deleted(record["experiment"]):
            self.deleted = True
            return
        self.experiment_id = self.server.experiment(record["experiment"])
        run = self._found(record["token"]) or self._made(record)
        self.deleted = run.info.lifecycle_stage == "deleted"
        if not self.deleted:
            told = record["mlflow"]
            self.server.log(run.info.run_id, params=told["params"])
            if not run.inputs.dataset_inputs:
                self.server.log_dataset(run.info.run_id, **told["dataset"])
            history_of = self.server.client.get_metric_history
            self.told = {(key, point.step) for key in run.data.metrics for point in history_of(run.info.run_id, key)}
        self.run_id = run.info.run_id

    def level(self, record: dict | None = None) -> None:
        """Tell MLflow what it does not know yet: epochs and, of a run that has ended, all results and how it ended."""
        record = record or read_json(self.folder / rundir.RECORD)
        try:
            if self.run_id is None:
                self.open(record)
            if self.deleted:
                return
            rows = self._rows()
            self._tell_epochs(rows)
            if record["status"] != "RUNNING":
                self._tell_results(record, rows)
        except Exception:
            self.run_id = None  # what was sent may have been heard: what is there is looked up the next time
            raise

    def published(self, record: dict) -> dict:
        """The record as it is once MLflow has the whole run. An id that is MLflow's, of whatever server, stays."""
        named = self.run_id if record["run_id"] == record["token"] else record["run_id"]
        return record | {"run_id": named, "published": self.server.name}

    def _found(self, token: str):
        """The run of that token. Of several one is kept: a request without an answer may have been heard, even late."""
        found = self.server.runs(self.experiment_id, token)
        kept = next((run for run in found if run.info.run_id == self.run_id), found[0] if found else None)
        for double in found:
            if double is not kept and double.info.lifecycle_stage != "deleted":
                self.server.client.delete_run(double.info.run_id)
        return kept

    def _made(self, record: dict):
        tags = record["mlflow"]["tags"] | {TOKEN: record["token"]}
        return self.server.client.create_run(self.experiment_id, record["started"], tags, record["name"])

    def _rows(self) -> history.Rows:
        path = self.folder / rundir.HISTORY
        return history.read(path) if path.is_file() else []

    def _tell_epochs(self, rows: history.Rows) -> None:
        if not rows:
            return
        train = rundir.read_config(self.folder).train
        points = []
        for row in rows:
            # What is logged first, MLflow's comparison of runs opens with.
            values = {key: row[key] for key in ("val_accuracy", *history.COLUMNS[1:])}
            values["learning_rate"] = learning_rate(train, row["epoch"])
            points += [(key, value, row["epoch"]) for key, value in values.items()]
        new = [point for point in points if (point[0], point[2]) not in self.told]
        self.server.log(self.run_id, new)
        self.told |= {(key, step) for key, _, step in new}

    def _tell_results(self, record: dict, rows: history.Rows) -> None:
        self._found(record["token"])
        run = self.server.client.get_run(self.run_id)
        values = {key: record[key] for key in rundir.COSTS}
        tags = {key: record[key] for key in ("fingerprint", "trajectory", "weights_sha256") if record[key]}
        if record["failure"]:
            tags["failure"] = record["failure"][:LONGEST_TAG]
        if rows:
            values |= {key: value for key, value in history.summary(rows).items() if key.startswith("best_")}
        if tested := self.scores(rows):
            values |= {key: value for key, value in tested.items() if key.startswith("test_")}
        new = [(key, value, 0) for key, value in values.items() if run.data.metrics.get(key) != value]
        self.server.log(self.run_id, new, tags={key: tags[key] for key in tags if run.data.tags.get(key) != tags[key]})
        self._tell_files(record, bool(tested), json.loads(run.data.tags.get(FILES, "{}")))
        if (run.info.status, run.info.end_time) != (record["status"], record["ended"]):
            self.server.client.set_terminated(self.run_id, record["status"], record["ended"])

    def scores(self, rows: history.Rows) -> dict | None:
        """metrics.json, if it is that of this training: of the pipeline's, it may be an earlier one's."""
        path = self.reports / rundir.METRICS
        if not rows or not path.is_file():
            return None
        metrics = rundir.read_metrics(self.reports)
        return metrics if history.summary(rows).items() <= metrics.items() else None

    def _tell_files(self, record: dict, evaluated: bool, told: dict[str, str]) -> None:
        """The files that are not there or not the same, the model, and last run.json, then what they all are."""
        client = self.server.client
        files = {name: self.folder / name for name in (rundir.CONFIG, rundir.HISTORY, rundir.DIFF)}
        if evaluated:
            files |= {f"{EVALUATION}/{name}": self.reports / name for name in rundir.EVALUATED}
        there = {item.path for folder in (None, EVALUATION) for item in client.list_artifacts(self.run_id, folder)}
        now = {name: digest(path) for name, path in files.items() if path.is_file()}
        for name, sha256 in now.items():
            if told.get(name) != sha256 or name not in there:
                client.log_artifact(self.run_id, str(files[name]), name.rpartition("/")[0] or None)
        model = self.folder / rundir.MODEL
        if record["status"] == "FINISHED" and model.is_file():
            now[rundir.MODEL] = digest(model)
            if told.get(rundir.MODEL) != now[rundir.MODEL] or not self.server.has_model(self.run_id):
                about = record["mlflow"]["dataset"]["meta"]
                self.server.log_model(self.run_id, model, about["image_shape"], about["classes"])
        with tempfile.TemporaryDirectory() as scratch:
            final = Path(scratch) / rundir.RECORD
            write_json(final, self.published(record))
            now[rundir.RECORD] = digest(final)
            if told.get(rundir.RECORD) != now[rundir.RECORD] or rundir.RECORD not in there:
                client.log_artifact(self.run_id, str(final))
        if told != now:
            self.server.log(self.run_id, tags={FILES: json.dumps(now)})


def bring_level(server: Server, folder: Path, reports: Path | None = None, token: str | None = None) -> View | None:
    """Tell MLflow of a run that has ended, and run.json of that, which with `reports` is DVC's and stays as it is.

    Returns None if the folder is being worked in, or is not that of the run of `token`. Raises InputError if a file in
    it is wrong.
    """
    with alone(server.root, folder) as free:
        if not free:
            return None
        record, view = check(folder), View(server, folder, reports)
        if token not in (None, record["token"]):
            return None
        view.level(record)
        after = view.published(record)
        if not reports and not view.deleted and after != record:
            write_json(folder / rundir.RECORD, after)
    return view


def check(folder: Path) -> dict:
    """run.json of a run directory that can be shown. Raises InputError if it holds none."""
    record = rundir.read_record(folder)
    lacking = [key for key in rundir.TOLD if key not in record]
    told = record.get("mlflow")
    if lacking or not isinstance(told, dict) or not {"params", "tags", "dataset"} <= told.keys():
        raise InputError(f"{folder / rundir.RECORD}: lacks {', '.join(lacking) or 'what MLflow is told'}")
    return record
