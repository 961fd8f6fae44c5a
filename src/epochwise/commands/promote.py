"""`epochwise promote`: make a run the champion of MLflow's registry and, if asked, its parameters the pipeline's."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from epochwise.common.errors import InputError
from epochwise.common.files import replacing
from epochwise.common.paths import find_root, main_root
from epochwise.config.compose import load
from epochwise.config.overrides import as_override
from epochwise.config.schema import parameters
from epochwise.pipeline.directories import state_store
from epochwise.pipeline.find_run import find_run
from epochwise.runs.directory import RunDirectory
from epochwise.runs.record import RunRecord
from epochwise.sweeps.directory import find_sweep
from epochwise.sweeps.leaderboard import make_leaderboard
from epochwise.sweeps.scheduler import epochs_to_train
from epochwise.tracking.registry import as_input_error, champion, register_champion
from epochwise.tracking.run_mirror import sync_run
from epochwise.tracking.server import Server


def promote(run_id: str | None, sweep_id: Path | str | None, force: bool, write_params: bool) -> None:
    """Register a run, or the best of a sweep on validation, as champion; `write_params` also writes params.yaml.

    A run that MLflow does not have is logged to it first. A run that is not tracked can give its parameters only.
    Raises InputError if there is no such run or, unless forced, if the champion is better or was made from other data.
    """
    run = _chosen_run(run_id, sweep_id)
    record, cfg = run.read_finished(), run.read_config()
    val_accuracy = run.read_history()[-1]["val_accuracy"]
    if not cfg.prepare.validation_size:
        print("note: the test set was this run's validation set, so its accuracy says little about unseen images")
    wanted = parameters(cfg)
    if write_params:
        load([as_override(key, value) for key, value in wanted.items()])  # refuses what this code does not allow
    if OmegaConf.select(cfg, "tracking.enabled", default=True) or not write_params:
        _register(run, record, val_accuracy, force)
    else:
        print(f"note: {record.run_id} is not tracked in MLflow, so it does not become champion")
    if write_params:
        _write_params(wanted, record.data_sha256)


def _chosen_run(run_id: str | None, sweep_id: Path | str | None) -> RunDirectory:
    if run_id:
        run = find_run(run_id)
        if run is None:
            raise InputError(f"{run_id}: no run of this id in models/, outputs/ or multirun/")
        return run
    root = find_root()
    leaderboard = make_leaderboard(root, find_sweep(root, sweep_id))
    best, sweep = leaderboard.best, leaderboard.sweep
    if best is None:
        raise InputError(f"sweep {sweep.id}: none of its runs is finished; start it again first")
    print(f"the best run of sweep {sweep.id}: {best.point.name}")
    unfinished = len(leaderboard.failures) + len(leaderboard.missing)
    if unfinished:
        print(f"note: {unfinished} of its runs are not finished")
    return best.run


def _register(run: RunDirectory, record: RunRecord, val_accuracy: float, force: bool) -> None:
    with as_input_error(f"{record.run_id}: cannot be registered in MLflow"):
        mirror = sync_run(Server(main_root()), run)
    if mirror is None or mirror.deleted or mirror.run_id is None:
        raise InputError(f"{run.path}: is at work, or was deleted in MLflow; it cannot be registered now")
    name = record.experiment
    before = champion(main_root(), name)
    if before and before["run_id"] == mirror.run_id:
        print(f"{mirror.run_id} is the champion of {name} already")
        return
    if before and not force:
        _refuse_a_worse_run(before, record, val_accuracy)
    hashes = {"data_sha256": record.data_sha256, "fingerprint": record.fingerprint}
    tags = {"val_accuracy": str(val_accuracy), **hashes, "weights_sha256": str(record.weights_sha256)}
    version = register_champion(main_root(), name, mirror.run_id, tags)
    instead = f" instead of {before['run_id']}" if before else ""
    print(f"{mirror.run_id} (val_accuracy {val_accuracy:.4f}) is the champion of {name}{instead}: version {version}")


def _refuse_a_worse_run(before: dict[str, str], record: RunRecord, val_accuracy: float) -> None:
    subject = f"the champion, run {before['run_id']},"
    if before.get("data_sha256") != record.data_sha256:
        raise InputError(f"{subject} was made from other data, so the two do not compare; --force replaces it")
    if float(before["val_accuracy"]) > val_accuracy:
        raise InputError(
            f"{subject} is better on validation: {float(before['val_accuracy']):.4f} against {val_accuracy:.4f}; "
            "--force replaces it"
        )


def _write_params(wanted: dict[str, Any], data_sha256: str) -> None:
    """Change the values in params.yaml that differ, and nothing else: comments and layout stay."""
    from ruamel.yaml import YAML

    path, yaml = find_root() / "params.yaml", YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 1000
    content = yaml.load(path)
    changed = []
    for key, value in wanted.items():
        *parents, last = key.split(".")
        section = content
        for parent in parents:
            section = section[parent]
        if section[last] != value:
            changed.append(f"{key} {section[last]} → {value}")
            if isinstance(value, list):
                section[last][:] = value  # in place, which keeps the list's layout
            else:
                section[last] = value
    if changed:
        with replacing(path) as temporary:
            yaml.dump(content, temporary)
    print(f"params.yaml: {', '.join(changed) or 'has these parameters already'}")
    cfg = load([])
    left = epochs_to_train(parameters(cfg), data_sha256, state_store(cfg))
    print(f"`dvc repro` makes it the pipeline's; {left or 'no'} epoch{'s' * (left != 1)} to train for that")
