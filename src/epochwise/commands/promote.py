"""The best run becomes the champion of MLflow's registry and, if asked, its parameters become the pipeline's."""

from pathlib import Path

from omegaconf import OmegaConf

from epochwise.commands.publish import reports_of
from epochwise.common.errors import InputError
from epochwise.common.files import replacing
from epochwise.common.paths import find_root, main_root
from epochwise.config.compose import load, parameters
from epochwise.config.overrides import text
from epochwise.pipeline.stages import store
from epochwise.runs import directory as rundir
from epochwise.sweeps import leaderboard
from epochwise.sweeps import record as sweepdir
from epochwise.sweeps.scheduler import Job, to_train
from epochwise.tracking.run_mirror import bring_level
from epochwise.tracking.server import Server, champion, refusing, register
from epochwise.training import history
from epochwise.trajectory.identity import legs

TAGS = ("data_sha256", "fingerprint", "weights_sha256")


def promote(run_id: str | None, sweep_id: Path | str | None, force: bool, write_params: bool) -> None:
    """Register a run, or the best of a sweep on validation, as champion; `write_params` puts it into params.yaml too.

    A run that MLflow does not have is told to it first; one that is not tracked can give its parameters only. Raises
    InputError if there is no such run, or if the champion is better, or made from other data, and this was not forced.
    """
    folder = _folder(run_id, sweep_id)
    record, cfg = rundir.read_finished(folder), rundir.read_config(folder)
    val_accuracy = history.read(folder / rundir.HISTORY)[-1]["val_accuracy"]
    if not cfg.prepare.validation_size:
        print("note: the test set was this run's validation, so it is no measure of what was not seen")
    wanted = parameters(cfg)
    if write_params:
        load([text(key, value) for key, value in wanted.items()])  # refuses what this code does not know or allow
    if OmegaConf.select(cfg, "tracking.enabled", default=True) or not write_params:
        _register(folder, record, val_accuracy, force)
    else:
        print(f"note: {record['run_id']} is not tracked in MLflow, so it becomes no champion")
    if write_params:
        _write_params(wanted, record["data_sha256"])


def _register(folder: Path, record: dict, val_accuracy: float, force: bool) -> None:
    name = record["experiment"]
    with refusing(f"{record['run_id']}: cannot be registered in MLflow"):
        view = bring_level(Server(main_root()), folder, reports_of(folder))
    if view is None or view.deleted:
        raise InputError(f"{folder}: is being worked in, or was deleted in MLflow; it cannot be registered now")
    now, before = view.run_id, champion(main_root(), name)
    if before and before["run_id"] == now:
        print(f"{now} is the champion of {name} already")
        return
    if before and not force:
        _refuse_a_worse(before, record, val_accuracy)
    tags = {"val_accuracy": str(val_accuracy)} | {key: record[key] for key in TAGS}
    version = register(main_root(), name, now, tags)
    instead = f" instead of {before['run_id']}" if before else ""
    print(f"{now} (val_accuracy {val_accuracy:.4f}) is the champion of {name}{instead}: version {version}")


def _folder(run_id: str | None, sweep_id: Path | str | None) -> Path:
    root = find_root()
    if run_id:
        folder = rundir.find(root, run_id)
        if folder is None:
            raise InputError(f"{run_id}: no run of this id in models/, outputs/ or multirun/")
        return folder
    board = leaderboard.make(root, sweepdir.find(root, sweep_id))
    if board.best is None:
        raise InputError(f"sweep {board.sweep.id}: none of its runs is finished; start it again first")
    print(f"the best of sweep {board.sweep.id}: {board.best.point.name}")
    if board.failures or board.missing:
        print(f"note: {len(board.failures) + len(board.missing)} of its runs are not finished")
    return board.best.folder


def _refuse_a_worse(before: dict[str, str], record: dict, val_accuracy: float) -> None:
    told = f"the champion, run {before['run_id']},"
    if before.get("data_sha256") != record["data_sha256"]:
        raise InputError(f"{told} was made from other data, so the two do not compare; --force replaces it")
    if float(before["val_accuracy"]) > val_accuracy:
        raise InputError(
            f"{told} is better on validation: {float(before['val_accuracy']):.4f} against {val_accuracy:.4f}; "
            "--force replaces it"
        )


def _write_params(wanted: dict[str, object], data_sha256: str) -> None:
    """Change in params.yaml what differs, and nothing else: comments and layout stay."""
    from ruamel.yaml import YAML

    path, yaml = find_root() / "params.yaml", YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 1000
    content = yaml.load(path)
    changed = []
    for key, value in wanted.items():
        *parents, last = key.split(".")
        place = content
        for parent in parents:
            place = place[parent]
        if place[last] != value:
            changed.append(f"{key} {place[last]} → {value}")
            if isinstance(value, list):
                place[last][:] = value  # in place, which keeps the list as it is laid out
            else:
                place[last] = value
    if changed:
        with replacing(path) as temporary:
            yaml.dump(content, temporary)
    print(f"params.yaml: {', '.join(changed) or 'has these parameters already'}")
    cfg = load([])
    left = to_train([Job(0, "", path, cfg, legs(cfg, data_sha256), store(cfg))])
    print(f"`dvc repro` makes it the pipeline's; {left or 'no'} epoch{'s' * (left != 1)} to train for that")
