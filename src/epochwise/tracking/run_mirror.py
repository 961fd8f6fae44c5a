"""The MLflow run that mirrors a run directory.

All that it shows is read from the directory. So it can be brought up to date at any time: while the run is at work,
after an outage, in a fresh clone, on another server.
"""

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from epochwise.common.directory_locks import try_lock_directory
from epochwise.common.files import file_digest, write_bytes
from epochwise.config.schema import PATIENCE, parameters
from epochwise.evaluation.file_names import SHOWN
from epochwise.report.content import report_of_run
from epochwise.runs.directory import RECORD, REPORT, RunDirectory
from epochwise.runs.record import FINISHED, RUNNING, RunRecord
from epochwise.tracking.models import has_model, log_model, upload
from epochwise.tracking.result_archive import ARCHIVE, pack, packed_files
from epochwise.tracking.server import LONGEST_FAILURE, TOKEN_TAG, Metric, Run, Server
from epochwise.training.history import METRICS, History, summarize
from epochwise.training.learning_rate import learning_rate

FILES_TAG = "files"  # its value is JSON: the sha256 of each artifact by its path
ENDED_EARLY_TAG = "ended_early"  # of a run that its patience has ended before `train.epochs`
EVALUATION = "evaluation"  # the artifact folder with what evaluate has written
# MLflow's comparison of runs opens with the metric that was logged first.
EPOCH_METRICS = ("val_accuracy", *(name for name in METRICS if name != "val_accuracy"))
COSTS = ("epochs_trained", "epochs_reused", "steps_trained", "train_seconds", "trajectory_seconds")  # logged as metrics
HASHES = ("fingerprint", "trajectory", "weights_sha256", "model_sha256")  # logged as tags


class RunMirror:
    """A run directory in MLflow.

    Methods raise whatever MLflow raises (see `Server`), and InputError if a file in the directory is damaged. They can
    be called again after that, also by another process, and continue where they stopped.
    """

    def __init__(self, server: Server, run: RunDirectory, is_new: bool = False) -> None:
        """`is_new` says that the run begins only now, so that MLflow cannot have it."""
        self.server, self.run = server, run
        self.experiment_id = ""  # known once MLflow has answered
        self.run_id: str | None = None
        self.deleted = False  # by a user, in MLflow; then the run is not logged again
        self._logged: set[tuple[str, int]] = set()  # metrics by epoch that MLflow has: name and step
        self._artifacts: Any = None  # MLflow's access to those of the run
        # Whether MLflow has nothing of the run but what this object has logged, so that it need not be asked for that:
        # a server with passwords takes a third of a second for each answer.
        self._fresh = is_new

    @property
    def link(self) -> str:
        """The address of the run's page; empty while MLflow has no such run."""
        return self.server.link(self.experiment_id, self.run_id) if self.run_id else ""

    def sync(self, record: RunRecord | None = None) -> None:
        """Log what MLflow lacks: epochs and, of a run that has ended, all results and how it ended.

        `record` is the run's; without it run.json is read.
        """
        record = record or self.run.read_record()
        try:
            if self.run_id is None:
                self._open(record)
            if self.deleted or self.run_id is None:
                return
            history = self.run.read_history()
            points = self._new_points(history)
            if record.status == RUNNING:
                self.server.log(self.run_id, points)
            else:
                self._log_results(self.run_id, record, history, points)
            self._logged |= {(name, epoch) for name, _, epoch in points}
        except Exception:
            # A request that failed may have been carried out; the next sync looks at what is there.
            self.run_id, self._fresh = None, False
            raise

    def as_published(self, record: RunRecord) -> RunRecord:
        """The record of this run once MLflow has all of the run."""
        return replace(record.with_mlflow_id(self.run_id), published=self.server.name)

    def _open(self, record: RunRecord) -> None:
        """Find the MLflow run, or create it with its name and tags; log parameters and data set if they are missing."""
        if record.status != RUNNING and self.server.is_deleted(record.experiment):
            self.deleted = True
            return
        self.experiment_id = self.server.experiment(record.experiment)
        found = [] if self._fresh else self.server.runs(self.experiment_id, record.token)
        self._remove_duplicates(found)
        self._fresh = not found
        run = self._choose(found) or self._create(record)
        run_id = run.info.run_id
        self.deleted = run.info.lifecycle_stage == "deleted"
        if not self.deleted:
            self.server.log(run_id, params=record.mlflow["params"])
            if not run.inputs.dataset_inputs:
                self.server.log_dataset(run_id, **record.mlflow["dataset"])
            points_of = self.server.client.get_metric_history
            names = () if self._fresh else run.data.metrics
            self._logged = {(name, point.step) for name in names for point in points_of(run_id, name)}
            self._artifacts = self.server.artifacts(run.info.artifact_uri)
        self.run_id = run_id

    def _create(self, record: RunRecord) -> Run:
        tags = record.mlflow["tags"] | {TOKEN_TAG: record.token}
        return self.server.client.create_run(self.experiment_id, record.started, tags, record.name)

    def _choose(self, found: list[Run]) -> Run | None:
        """Of the runs with this run's token the one that mirrors it."""
        return next((run for run in found if run.info.run_id == self.run_id), found[0] if found else None)

    def _remove_duplicates(self, found: list[Run]) -> None:
        """Delete the other runs with the token: a request without an answer may still have created one, even late."""
        mirror = self._choose(found)
        for run in found:
            if run is not mirror and run.info.lifecycle_stage != "deleted":
                self.server.client.delete_run(run.info.run_id)

    def _new_points(self, history: History) -> list[Metric]:
        """The metrics by epoch that MLflow lacks."""
        if not history:
            return []
        train = self.run.read_config().train
        points = []
        for row in history:
            epoch = int(row["epoch"])
            points += [(name, row[name], epoch) for name in EPOCH_METRICS]
            points.append(("learning_rate", learning_rate(train, epoch), epoch))
        return [(name, value, epoch) for name, value, epoch in points if (name, epoch) not in self._logged]

    def _log_results(self, run_id: str, record: RunRecord, history: History, points: list[Metric]) -> None:
        """Log files, model and, with `points`, all else of a run that has ended; then how it ended."""
        self._remove_duplicates(self.server.runs(self.experiment_id, record.token))
        run = None if self._fresh else self.server.client.get_run(run_id)
        before, known = (run.data.metrics, run.data.tags) if run else ({}, {})
        scores = self.run.read_own_metrics()
        metrics = {name: getattr(record, name) for name in COSTS}
        metrics |= {name: value for name, value in scores.items() if name.startswith("test_")}
        if history:
            metrics |= {name: value for name, value in summarize(history).items() if name.startswith("best_")}
        tags = {name: value for name in HASHES if (value := getattr(record, name))}
        if record.status == FINISHED and self._ended_early(len(history)):
            tags[ENDED_EARLY_TAG] = f"after epoch {len(history)}"
        if record.failure:
            tags["failure"] = record.failure[:LONGEST_FAILURE]
        model_id = None
        try:
            hashes, model_id = self._log_files(run_id, record, bool(scores), json.loads(known.get(FILES_TAG, "{}")))
            tags[FILES_TAG] = json.dumps(hashes)
        finally:  # also if MLflow takes no files, as when its disk is full
            new_metrics = [(name, value, 0) for name, value in metrics.items() if model_id or before.get(name) != value]
            new_tags = {name: value for name, value in tags.items() if known.get(name) != value}
            self.server.log(run_id, [*points, *new_metrics], tags=new_tags, model_id=model_id)
        if run is None or (run.info.status, run.info.end_time) != (record.status, record.ended):
            self.server.client.set_terminated(run_id, record.status, record.ended)

    def _ended_early(self, epochs: int) -> bool:
        """Whether the run's patience has ended it after so many epochs, before `train.epochs`."""
        values = parameters(self.run.read_config())
        return values[PATIENCE] is not None and epochs < values["train.epochs"]

    def _log_files(
        self, run_id: str, record: RunRecord, evaluated: bool, logged: dict[str, str]
    ) -> tuple[dict[str, str], str | None]:
        """Log the files and the model that MLflow lacks or has otherwise, and run.json and the report after them.

        `logged` are the hashes that MLflow has so far. Returns all hashes and, if the model was logged now, its id.
        """
        folders = () if self._fresh else (None, EVALUATION)
        present = {item.path for folder in folders for item in self._artifacts.list_artifacts(folder)}
        with tempfile.TemporaryDirectory() as scratch:
            artifacts = {path.name: path for path in (self.run.config, self.run.diff)}
            if evaluated:
                artifacts |= {f"{EVALUATION}/{name}": self.run.evaluation / name for name in SHOWN}
            packed = [path for path in packed_files(self.run, evaluated) if path.is_file()]
            if packed:
                artifacts[ARCHIVE] = Path(scratch) / ARCHIVE
                pack(packed, artifacts[ARCHIVE])
            # An earlier version has logged these one by one, and users look at them there.
            alone = {path.name if path == self.run.history else f"{EVALUATION}/{path.name}": path for path in packed}
            artifacts |= {name: path for name, path in alone.items() if name in present}
            hashes = self._upload(artifacts, logged, present)
            model_id = None
            if record.status == FINISHED and self.run.model.is_file():
                name = self.run.model.name
                hashes[name] = file_digest(self.run.model)
                where = self.server, self.experiment_id, run_id
                if logged.get(name) != hashes[name] or not has_model(*where):
                    meta = record.mlflow["dataset"]["meta"]
                    model_id = log_model(*where, self.run.model, meta["image_shape"], meta["classes"], self._fresh)
            published, made = self.as_published(record), {RECORD: Path(scratch) / RECORD}
            published.write(made[RECORD])
            if evaluated:
                from epochwise.report.page import render  # imports Jinja2

                made[REPORT] = Path(scratch) / REPORT
                write_bytes(made[REPORT], render(report_of_run(self.run, published)))
            hashes |= self._upload(made, logged, present)
        return hashes, model_id

    def _upload(self, artifacts: dict[str, Path], logged: dict[str, str], present: set[str]) -> dict[str, str]:
        """Log those of the artifacts that MLflow lacks or has otherwise. Returns the hashes of all that exist."""
        hashes = {name: file_digest(path) for name, path in artifacts.items() if path.is_file()}
        lacking = [name for name, sha256 in hashes.items() if logged.get(name) != sha256 or name not in present]
        upload([(artifacts[name], name.rpartition("/")[0]) for name in lacking], self._artifacts)
        return hashes


def sync_run(server: Server, run: RunDirectory, token: str | None = None) -> RunMirror | None:
    """Bring MLflow up to date with a run that has ended, and write into run.json that it is published.

    Returns None if another process works in the directory, or if it holds another run than the one with `token`.
    Raises InputError if a file in the directory is damaged, and whatever MLflow raises.
    """
    with try_lock_directory(server.root, run.path) as locked:
        if not locked:
            return None
        record = run.read_record()
        record.check_publishable(run.record)
        if token not in (None, record.token):
            return None
        mirror = RunMirror(server, run)
        mirror.sync(record)
        published = mirror.as_published(record)
        if not mirror.deleted and published != record:
            run.write_record(published)
    return mirror
