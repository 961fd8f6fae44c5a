"""A run from its start to its end: its record in run.json, its MLflow run, what is printed of it, and how it ended."""

import hashlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from epochwise.common.errors import RunError
from epochwise.common.files import file_digest, write_bytes
from epochwise.common.paths import find_root, main_root
from epochwise.common.wording import counted, duration
from epochwise.config.limits import check_network
from epochwise.config.schema import is_parameter, parameters
from epochwise.data.prepared import PreparedData
from epochwise.pipeline.directories import state_store
from epochwise.pipeline.step_progress import StepProgress
from epochwise.runs import active_runs
from epochwise.runs.directory import RunDirectory
from epochwise.runs.lineage import Lineage, not_recorded, trace_lineage
from epochwise.runs.record import FAILED, FINISHED, KILLED, RUNNING, RunRecord, now
from epochwise.tracking.address import check_address, how_to_show, is_remote, server_identity
from epochwise.tracking.description import describe_run
from epochwise.tracking.recorder_thread import NullRecorder, Recorder, create_recorder
from epochwise.training.history import METRICS, History, best_epoch
from epochwise.training.network_source import is_own
from epochwise.trajectory.identity import fingerprint, segments, trajectory_key

if TYPE_CHECKING:
    from epochwise.training.scoring import Scorer
    from epochwise.trajectory.resume import Progress


SHORT_HASH = 12  # characters of a trajectory's hash that are printed


class RecordedRun:
    """A run that has begun. Its record is written to run.json whenever it changes, and MLflow follows."""

    def __init__(self, cfg: DictConfig, data: PreparedData, run: RunDirectory, record: RunRecord) -> None:
        self.cfg, self.data, self.run, self.record = cfg, data, run, record
        self.recorder: Recorder | NullRecorder = create_recorder(main_root(), cfg, run, is_new=True)

    @property
    def id(self) -> str:
        """MLflow's id of the run, or that of its directory while MLflow has none."""
        return self.record.run_id

    def train(self, may_train: bool = True) -> "Scorer":
        """Train, and write config.yaml, history.csv and model.keras; return the network, ready to score images.

        A run that its patience ends early says so, and its record has the epochs that it consists of. Raises RunError
        if the training fails, or if there is an epoch to train and it may not.
        """
        # These import TensorFlow, which the stage prepare and refusals do without.
        from epochwise.training.model_file import save_model, weights_sha256
        from epochwise.trajectory.resume import train

        self.run.write_config(self.cfg)
        if self.data.validates_on_test and self.cfg.train.patience is not None:
            print("note: the test set is validation here, so it decides where this run ends", flush=True)
        with StepProgress(self.cfg.train.epochs, self.data.meta.train_images, self.cfg.train.batch_size) as progress:
            store = state_store(self.cfg)
            training = train(self.cfg, self.data, store, self._report, progress.update, may_train)
        self._print_early_end(training.history)
        save_model(training.model, self.run.model)
        weights, model = weights_sha256(training.model), file_digest(self.run.model)
        epochs = len(training.history)
        self.record = replace(self.record, weights_sha256=weights, model_sha256=model, epochs=epochs)
        return training.scorer

    def _print_early_end(self, history: History) -> None:
        """Say that the run's patience has ended it before `train.epochs`, if it has."""
        train, best = self.cfg.train, best_epoch(history)
        if len(history) < train.epochs:
            measured = ", measured on the test set," if self.data.validates_on_test else ""
            highest = f"{best['val_accuracy']:.4f} of epoch {best['epoch']}"
            since = f"for {counted(train.patience, 'epoch')} (train.patience)"
            end = f"ended after epoch {len(history)} of at most {train.epochs}"
            print(f"{end}: val_accuracy{measured} was not higher than {highest} {since}", flush=True)

    def finish(self, status: str, failure: str) -> None:
        """Write how the run ended, and wait until MLflow has all of the run or is given up."""
        self.record = replace(self.record, status=status, failure=failure, ended=now())
        try:
            self._write()
        except OSError as error:  # a full disk: MLflow must not call a run FINISHED that run.json does not
            failure = failure or f"{type(error).__name__}: {error}"
            self.record = replace(self.record, status=status if status != FINISHED else FAILED, failure=failure)
        self.record = self.recorder.finish(self.record)
        self.run.write_record(self.record)

    def _report(self, progress: "Progress") -> None:
        """Write history.csv and run.json, then print, after an epoch or after epochs that are reused."""
        self.record = replace(
            self.record,
            epochs_trained=progress.epochs_trained,
            epochs_reused=progress.epochs_reused,
            steps_trained=progress.steps_trained,
            train_seconds=round(progress.train_seconds, 3),
            trajectory_seconds=round(sum(progress.seconds), 3),
        )
        self.run.write_history(progress.history)
        self._write()
        last, row = self.cfg.train.epochs, progress.history[-1]
        if progress.reused_from:
            store, trajectory = progress.reused_from.parts[-3:-1]
            where = f"{store}/{trajectory[:SHORT_HASH]}…"
            print(f"epochs 1…{progress.epochs_reused} of {last} reused from {where}", flush=True)
        else:
            metrics = " · ".join(f"{name} {row[name]:.4f}" for name in METRICS)
            print(f"epoch {row['epoch']}/{last} · {metrics} · {duration(progress.seconds[-1])}", flush=True)

    def _write(self) -> None:
        self.record = self.record.with_mlflow_id(self.recorder.run_id)
        self.run.write_record(self.record)
        self.recorder.notify()


@contextmanager
def recorded_run(
    cfg: DictConfig, data: PreparedData, run: RunDirectory, overrides: list[str], name: str, sweep_id: str = ""
) -> Iterator[RecordedRun]:
    """Begin a run; at the end it is FINISHED, FAILED or KILLED, in run.json and in MLflow.

    Raises InputError, before anything is written, if the network cannot be built or trained on the data or the tracking
    address is none, and RunError if MLflow does not have all of the run and `tracking.required` asks for that.
    """
    check_network(cfg, data.image_shape)
    if cfg.tracking.enabled:
        check_address()
    if is_own(cfg.model.network):
        from epochwise.training.network_check import check_own_network  # imports TensorFlow

        check_own_network(cfg, data.image_shape, data.meta.classes)
    root, lineage = main_root(), trace_lineage(find_root(), cfg, overrides)
    if lineage.git_problem:
        print(f"note: {not_recorded(lineage.git_commit, lineage.git_problem)}", flush=True)
    record = _new_record(cfg, data, lineage, name, sweep_id)
    server = server_identity(root) if cfg.tracking.enabled else None
    active_runs.mark_orphans(root)
    with active_runs.register_as_running(root, record.token, run.path, server, record.experiment):
        this = RecordedRun(cfg, data, run, record)
        status, failure = FAILED, ""
        try:
            run.clear()
            run.write_record(record)
            if lineage.git_diff:
                write_bytes(run.diff, lineage.git_diff)
            this.recorder.start()
            yield this
            status = FINISHED
        except (KeyboardInterrupt, SystemExit) as error:
            status, failure = KILLED, type(error).__name__
            if state_store(cfg) and this.record.epochs_trained:
                done = this.record.epochs_reused + this.record.epochs_trained
                print(f"stopped after epoch {done} of {cfg.train.epochs}; the same command goes on from there")
            raise
        except BaseException as error:
            failure = f"{type(error).__name__}: {error}"
            raise
        finally:
            this.finish(status, failure)
            if this.recorder.published or not server:
                active_runs.forget(root, record.token)
    require_published(cfg, run, this.recorder)


def require_published(cfg: DictConfig, run: RunDirectory, recorder: Recorder | NullRecorder) -> None:
    """Raise RunError if MLflow does not have all of the run and `tracking.required` asks for that."""
    if cfg.tracking.enabled and cfg.tracking.required and not recorder.published:
        raise RunError(f"MLflow does not have all of {run.path}, which tracking.required asks for")


def print_result(metrics: dict[str, float], recorder: Recorder | NullRecorder) -> None:
    """Print the last epoch's metrics and the link to the MLflow run."""
    shown = (f"{name} {metrics[name]:.4f}" for name in ("val_accuracy", "val_loss", "test_accuracy", "test_loss"))
    print(" · ".join(shown))
    if recorder.published:
        root = main_root()
        print(f"run {recorder.link}" + ("" if is_remote(root) else f"  (after: {how_to_show(root)})"))


def run_name(overrides: list[str]) -> str:
    """What the overrides vary, by the last word of each key: `epochs=12 dense_dropout=0.5`."""
    plain = (override.lstrip("+~").partition("=") for override in overrides)
    return " ".join(f"{key.split('.')[-1]}={value}" for key, _, value in plain if is_parameter(key))


def _new_record(cfg: DictConfig, data: PreparedData, lineage: Lineage, name: str, sweep_id: str) -> RunRecord:
    values, token = parameters(cfg), uuid.uuid4().hex
    segment = segments(values, data.sha256)[-1]
    return RunRecord(
        run_id=token,
        token=token,
        name=name,
        experiment=cfg.tracking.experiment,
        fingerprint=fingerprint(values, data.sha256),
        trajectory=trajectory_key(segment.identity),
        data_sha256=data.sha256,
        epochs=cfg.train.epochs,
        end_rule=segment.end_rule,
        status=RUNNING,
        started=now(),
        git_commit=lineage.git_commit,
        git_dirty=lineage.git_dirty,
        git_problem=lineage.git_problem,
        git_diff=hashlib.sha256(lineage.git_diff).hexdigest() if lineage.git_diff else None,
        identity=segment.identity,
        mlflow=describe_run(cfg, lineage, data, sweep_id),
    )
