"""`epochwise promote`: make a run the champion of MLflow's registry and, if asked, its parameters the pipeline's."""

import io
import tempfile
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from epochwise.common.errors import InputError
from epochwise.common.files import write_text
from epochwise.common.paths import find_root, main_root
from epochwise.config.compose import load
from epochwise.config.overrides import as_override
from epochwise.config.schema import OWN_PARAMETERS, parameters
from epochwise.pipeline.directories import state_store
from epochwise.pipeline.find_run import find_run
from epochwise.pipeline.run_of_epoch import run_of_epoch
from epochwise.runs.directory import RunDirectory
from epochwise.runs.record import RunRecord
from epochwise.sweeps.directory import find_sweep
from epochwise.sweeps.leaderboard import Setting, make_leaderboard
from epochwise.sweeps.scheduler import epochs_to_train
from epochwise.tracking.download import fetch_run
from epochwise.tracking.registry import champion, explained, model_name, register_champion
from epochwise.tracking.run_mirror import sync_run
from epochwise.tracking.server import Server
from epochwise.training.history import best_epoch


def promote(
    run_id: str | None,
    sweep_id: Path | str | None,
    take_best_epoch: bool,
    force: bool,
    write_params: bool,
    write_data: bool,
) -> None:
    """Register a run, or the best setting of a sweep on validation, as champion of its data set.

    With `take_best_epoch` it is the run that ends with the best epoch of that one, see `pipeline/run_of_epoch.py`.
    `write_params` also writes its parameters into params.yaml, but for those of `prepare`, which decide the data;
    `write_data` writes these, too. A run that MLflow does not have is logged to it first, and one that only MLflow has
    is downloaded. A run that is not tracked can give its parameters only. Raises InputError if there is no such run or,
    unless forced, if the champion is better or was made from other data, and RunError if MLflow does not answer.
    """
    with tempfile.TemporaryDirectory(prefix="epochwise-") as scratch:
        run, is_here = _chosen_run(run_id, sweep_id, Path(scratch))
        if take_best_epoch:
            best = _run_of_best_epoch(run)
            run, is_here = best, is_here or best != run
        record, cfg = run.read_finished(), run.read_config()
        val_accuracy = run.read_history()[-1]["val_accuracy"]
        if not cfg.prepare.validation_size:
            print("note: the test set was this run's validation set, so its accuracy says little about unseen images")
        wanted = parameters(cfg)
        if write_params:
            load([as_override(key, value) for key, value in wanted.items()])  # refuses what this code does not allow
        if not is_here or OmegaConf.select(cfg, "tracking.enabled", default=True) or not write_params:
            mlflow_id = _sync(run, record) if is_here else record.run_id
            _register(run, record, mlflow_id, wanted, val_accuracy, force)
        else:
            print(f"note: {record.run_id} is not tracked in MLflow, so it does not become champion")
        if write_params:
            _write_params(wanted, record.data_sha256, write_data)


def _chosen_run(run_id: str | None, sweep_id: Path | str | None, scratch: Path) -> tuple[RunDirectory, bool]:
    """The run, and whether it is on disk here; one that only MLflow has is downloaded into `scratch`."""
    if run_id:
        run = find_run(run_id)
        if run is None:
            fetch_run(main_root(), run_id, scratch)
        return (run, True) if run else (RunDirectory(scratch), False)
    root = find_root()
    leaderboard = make_leaderboard(root, find_sweep(root, sweep_id))
    sweep = leaderboard.sweep
    if not leaderboard.settings:
        raise InputError(f"sweep {sweep.id}: none of its runs is finished; start it again first")
    best = leaderboard.settings[0]
    chosen = best.median
    print(f"the best setting of sweep {sweep.id}: {chosen.point.name}{_among_seeds(best)}")
    unfinished = len(leaderboard.failures) + len(leaderboard.missing)
    if unfinished:
        print(f"note: {unfinished} of its runs are not finished")
    if sweep.is_broken_off:
        print("note: the search is not finished, so a better setting may follow; the same command goes on with it")
    return chosen.run, True


def _run_of_best_epoch(run: RunDirectory) -> RunDirectory:
    """The run that ends with the epoch of `run` that has the highest val_accuracy, the first of equal ones."""
    record, history = run.read_finished(), run.read_history()
    best = best_epoch(history)
    print(f"epoch {best['epoch']} of {len(history)} is the best of run {record.run_id} on validation", flush=True)
    tracking = OmegaConf.select(run.read_config(), "tracking") or load([]).tracking
    return run_of_epoch(run, int(best["epoch"]), tracking)


def _among_seeds(setting: Setting) -> str:
    """Which of the runs with several seeds is taken: the best one would owe its place to chance."""
    number = len(setting.results)
    return f", of its {number} seeds the one with the median val_accuracy" if number > 1 else ""


def _sync(run: RunDirectory, record: RunRecord) -> str:
    """Log the run to MLflow if that lacks it. Returns MLflow's id of the run."""
    with explained(f"{record.run_id}: cannot be registered in MLflow"):
        mirror = sync_run(Server(main_root()), run)
    if mirror is None or mirror.deleted or mirror.run_id is None:
        raise InputError(f"{run.path}: is at work, or was deleted in MLflow; it cannot be registered now")
    return mirror.run_id


def _register(
    run: RunDirectory, record: RunRecord, run_id: str, wanted: dict[str, Any], val_accuracy: float, force: bool
) -> None:
    """Make the run champion; `run_id` is MLflow's, and `wanted` are the run's parameters."""
    record.check_publishable(run.record)
    name = model_name(record.experiment, wanted["prepare.source"])
    before = champion(main_root(), name)
    if before and before["run_id"] == run_id:
        print(f"{run_id} is the champion of {name} already")
        return
    if before and not force:
        _refuse_a_worse_run(before, record, val_accuracy)
    hashes = {"data_sha256": record.data_sha256, "fingerprint": record.fingerprint}
    setting = {key: str(wanted[key]) for key in ("prepare.source", "train.epochs", "seed")}
    tags = {"val_accuracy": str(val_accuracy), **hashes, "weights_sha256": str(record.weights_sha256), **setting}
    trained = f"{record.epochs} epochs on {wanted['prepare.source']}"
    about = f"run {record.name}: val_accuracy {val_accuracy:.4f} after {trained}"
    meta = record.mlflow["dataset"]["meta"]
    version = register_champion(main_root(), name, run_id, run.model, meta, tags, about)
    instead = f" instead of {before['run_id']}" if before else ""
    print(f"{run_id} (val_accuracy {val_accuracy:.4f}) is the champion of {name}{instead}: version {version}")


def _refuse_a_worse_run(before: dict[str, str], record: RunRecord, val_accuracy: float) -> None:
    subject = f"the champion, run {before['run_id']},"
    if before.get("data_sha256") != record.data_sha256:
        raise InputError(f"{subject} was made from other data, so the two do not compare; --force replaces it")
    if float(before["val_accuracy"]) > val_accuracy:
        raise InputError(
            f"{subject} is better on validation: {float(before['val_accuracy']):.4f} against {val_accuracy:.4f}; "
            "--force replaces it"
        )


def _write_params(wanted: dict[str, Any], data_sha256: str, write_data: bool) -> None:
    """Change the values in params.yaml that differ, and nothing else: comments, layout and line ends stay.

    Those of `prepare` are left as they are unless `write_data`.
    """
    from ruamel.yaml import YAML

    path, yaml = find_root() / "params.yaml", YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 1000
    yaml.representer.add_representer(
        type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    crlf = b"\r\n" in path.read_bytes()
    content = yaml.load(path.read_text(encoding="utf-8"))
    changed, left_out = [], []
    own = content["model"].get("parameters", {})
    for name in [name for name in own if f"{OWN_PARAMETERS}.{name}" not in wanted]:  # of another network
        changed.append(f"{OWN_PARAMETERS}.{name} removed")
        del own[name]
    for key, value in wanted.items():
        *parents, last = key.split(".")
        section = content
        for parent in parents:
            section = section[parent]
        before = section.get(last)
        if before != value and key.startswith("prepare.") and not write_data:
            left_out.append(f"{key}={value}")
        elif before != value:
            changed.append(f"{key} {before} → {value}")
            if isinstance(value, list) and isinstance(before, list):
                section[last][:] = value  # in place, which keeps the list's layout
            else:
                section[last] = value
    if changed:
        text = io.StringIO()
        yaml.dump(content, text)
        write_text(path, text.getvalue().replace("\n", "\r\n" if crlf else "\n"))
    print(f"params.yaml: {', '.join(changed) or 'has these parameters already'}")
    if left_out:
        print(f"note: the run was made with {', '.join(left_out)}, which is not written; --data writes it, too")
        return
    cfg = load([])
    left = epochs_to_train(parameters(cfg), data_sha256, state_store(cfg))
    at_most = "at most " if left and cfg.train.patience is not None else ""
    print(f"`dvc repro` makes it the pipeline's; {at_most}{left or 'no'} epoch{'s' * (left != 1)} to train for that")
