"""All stages for one configuration, in a run directory of its own: what `epochwise run` and each job of a sweep do."""

from pathlib import Path

from omegaconf import DictConfig

from epochwise.common.errors import RunError
from epochwise.common.paths import display_path
from epochwise.common.wording import counted
from epochwise.config.schema import OWN_PARAMETERS, parameters
from epochwise.pipeline.datasets import check_data, describe_changes, describe_data, prepared_for
from epochwise.pipeline.recorded_run import print_result, recorded_run, run_name
from epochwise.runs.directory import RunDirectory
from epochwise.training.network_source import is_own
from epochwise.trajectory.identity import fingerprint, mixed_fingerprint


def run_configuration(
    cfg: DictConfig,
    directory: Path,
    overrides: list[str],
    name: str = "",
    sweep_id: str = "",
    expected_fingerprint: str | None = None,
    may_train: bool = True,
) -> None:
    """Prepare, train and evaluate in `directory`. DVC's outputs stay as they are.

    Without a `name` the run is named by its `overrides`. A job of a sweep gives the sweep's id and the fingerprint
    that the sweep expects. Raises RunError if the run would have another fingerprint, if it fails, or if an epoch must
    be trained that it may not train.
    """
    check_data(cfg)
    print(_plan(cfg, directory), flush=True)
    data = prepared_for(cfg)
    identify = mixed_fingerprint if cfg.sweep.mixed else fingerprint
    if expected_fingerprint and expected_fingerprint != identify(parameters(cfg), data.sha256):
        raise RunError("code, libraries or data were changed while the sweep ran; start it again")
    run = RunDirectory(directory)
    print(describe_data(data), *describe_changes(data), sep="\n", flush=True)
    with recorded_run(cfg, data, run, overrides, name or run_name(overrides) or "run", sweep_id) as this:
        from epochwise.evaluation.evaluate import evaluate  # imports TensorFlow

        metrics = evaluate(cfg, data, run, this.train(may_train))
    print(f"files {display_path(directory)}")
    print_result(metrics, this.recorder)
    if not sweep_id:
        print(f"next: epochwise report {this.id}, or epochwise predict --random 12 --model {this.id}")


def _plan(cfg: DictConfig, directory: Path) -> str:
    """What is going to be run, in a line."""
    train = cfg.train
    how = f"{train.optimizer}, batches of {train.batch_size}, learning rate {train.learning_rate:g}, {train.precision}"
    augmented = "augmented, " if any(train.augment.values()) else ""
    patience = "" if train.patience is None else f"patience {train.patience}, "
    how += f", {augmented}{patience}seed {cfg.seed}"
    at_most = "" if train.patience is None else "at most "
    what = f"{at_most}{counted(train.epochs, 'epoch')} on {cfg.prepare.source}: {_network(cfg.model)}"
    return f"{what}, {how}; in {display_path(directory)}"


def _network(model: DictConfig) -> str:
    """The network, and with what it is built."""
    if is_own(model.network):
        return " ".join([model.network, *(f"{name}={value}" for name, value in model.parameters.items())])
    filters = f"{model.filters[0]} and {model.filters[1]} filters of {model.kernel_size}×{model.kernel_size}"
    unused = f" (without {OWN_PARAMETERS}, which are for an own network)" if model.parameters else ""
    return f"{filters}, dropout {model.conv_dropout:g} and {model.dense_dropout:g}{unused}"
