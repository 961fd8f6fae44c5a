"""A run directory: paths, reading, writing, and whether the run in it is complete."""

from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from epochwise.common.errors import InputError, one_line
from epochwise.common.files import read_json, write_text
from epochwise.runs.model_archive import check_model_archive
from epochwise.runs.record import FINISHED, RunRecord
from epochwise.training.history import History, read_history, summarize, write_history

RECORD = "run.json"
REPORT = "report.html"
READ_SETTINGS: dict[str, type] = {  # keys of config.yaml that are read when it is an earlier run's, and their types
    "prepare.source": str,
    **dict.fromkeys(("seed", "prepare.validation_size", "prepare.train_size", "prepare.split_seed"), int),
    **{"model": DictConfig, "train": DictConfig, "train.epochs": int},
}
MEASURED = ("val_accuracy", "val_loss", "best_epoch", "best_val_accuracy", "test_accuracy", "test_loss")


@dataclass(frozen=True)
class RunDirectory:
    """The files of one run. The pipeline's run has what evaluate writes in a folder of its own, `reports`."""

    path: Path
    reports: Path | None = None

    @property
    def evaluation(self) -> Path:
        """The folder that evaluate writes into."""
        return self.reports or self.path

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def history(self) -> Path:
        return self.path / "history.csv"

    @property
    def model(self) -> Path:
        return self.path / "model.keras"

    @property
    def record(self) -> Path:
        return self.path / RECORD

    @property
    def diff(self) -> Path:
        """Exists only if the code was not as committed."""
        return self.path / "git.diff"

    @property
    def metrics(self) -> Path:
        return self.evaluation / "metrics.json"

    @property
    def report(self) -> Path:
        """Exists only if `epochwise report` was asked for it; MLflow has one of each run."""
        return self.evaluation / REPORT

    def clear(self) -> None:
        """Remove an earlier run's results, so that none of them is taken for those of the run that starts."""
        for path in (self.history, self.model, self.path / "metrics.json", self.report, self.diff):
            path.unlink(missing_ok=True)

    def write_config(self, cfg: DictConfig) -> None:
        write_text(self.config, OmegaConf.to_yaml(cfg))

    def write_history(self, history: History) -> None:
        write_history(history, self.history)

    def write_record(self, record: RunRecord) -> None:
        record.write(self.record)

    def read_record(self) -> RunRecord:
        """Raises InputError if run.json does not exist or is no run's record."""
        return RunRecord.read(self.record)

    def read_config(self) -> DictConfig:
        """config.yaml as it was when the run was made. Raises InputError if it does not exist or is no run's."""
        try:
            cfg = OmegaConf.load(self.config)
            wrong = [key for key, kind in READ_SETTINGS.items() if not isinstance(OmegaConf.select(cfg, key), kind)]
        except Exception as error:  # OmegaConf passes on whatever the YAML parser, the file system or a decoder raises
            raise InputError(f"{self.config}: not readable ({one_line(error)})") from error
        if wrong or not isinstance(cfg, DictConfig):
            raise InputError(
                f"{self.config}: not a run's configuration: it has no {', '.join(wrong)} of the right type"
            )
        return cfg

    def read_history(self) -> History:
        """The rows of history.csv; none if there is no such file yet. Raises InputError if it is no history."""
        return read_history(self.history) if self.history.is_file() else []

    def read_metrics(self) -> dict[str, float]:
        """Raises InputError if metrics.json does not exist or is no run's."""
        metrics = read_json(self.metrics)
        wrong = [key for key in MEASURED if not isinstance(metrics.get(key), (int, float))]
        if wrong:
            raise InputError(f"{self.metrics}: not a run's metrics: {wrong[0]} is {metrics.get(wrong[0])!r}")
        return metrics

    def read_own_metrics(self) -> dict[str, float]:
        """What metrics.json holds; empty without one, or if it is an earlier training's, as in reports/ after train.

        Raises InputError if a file is damaged.
        """
        history = self.read_history()
        if not history or not self.metrics.is_file():
            return {}
        metrics = self.read_metrics()
        return metrics if summarize(history).items() <= metrics.items() else {}

    def read_finished(self) -> RunRecord:
        """The record of a run whose training is complete. Raises InputError if it does not exist or did not finish."""
        for path in (self.record, self.config, self.history, self.model):
            if not path.is_file():
                raise InputError(f"{self.path}: has no {path.name}; train first, with `dvc repro` or `epochwise run`")
        record = self.read_record()
        if record.status != FINISHED:
            raise InputError(f"{self.path}: its training is {record.status}, not {FINISHED}; train again")
        check_model_archive(self.model)
        return record

    def read_complete(self) -> RunRecord | None:
        """The record of a run that is trained, evaluated and FINISHED, with all its results; None of any other."""
        if not all(path.is_file() for path in (self.config, self.history, self.model, self.metrics, self.record)):
            return None
        try:
            record = self.read_record()
            self.read_metrics()
            self.read_history()
        except InputError:
            return None
        return record if record.status == FINISHED else None

    def status(self) -> str | None:
        """The status in run.json; None if there is no readable one."""
        try:
            return self.read_record().status
        except InputError:
            return None
