"""An epoch of a finished run as a run of its own: taken from the state that its trajectory has kept, without training.

A run of N epochs is the first N epochs of every longer run on its trajectory. So the model after epoch N of a run is
that of the run with `train.epochs=N`, and all that is to be done is to evaluate and record it.
"""

import shlex
from typing import Any

from omegaconf import DictConfig, OmegaConf

from epochwise.common.errors import InputError
from epochwise.common.paths import display_path
from epochwise.config.compose import hydra_settings, load
from epochwise.config.overrides import as_override
from epochwise.config.params_file import read_params
from epochwise.config.schema import OWN_PARAMETERS, PATIENCE, parameters
from epochwise.pipeline.datasets import check_data, prepared_for
from epochwise.pipeline.directories import folder_inside, state_store
from epochwise.pipeline.find_run import find_finished
from epochwise.pipeline.recorded_run import run_name
from epochwise.pipeline.run import run_configuration
from epochwise.runs.directory import RunDirectory
from epochwise.runs.record import RunRecord
from epochwise.trajectory.identity import Identity, fingerprint, segments, trajectory_key
from epochwise.trajectory.remote_states import kept_epochs, open_states

EPOCHS, COOLDOWN = "train.epochs", "train.cooldown_epochs"
PARTS = {  # of an identity that another checkout, environment or machine may have otherwise
    "code": "training code",
    "network": "network file",
    "versions": "library versions",
    "processor": "processor",
    "flags": "environment variables",
}


def run_of_epoch(run: RunDirectory, epoch: int, tracking: DictConfig) -> RunDirectory:
    """The finished run that ends with `epoch` of `run`: this one itself, another one that is here, or a new one.

    A new run lies in outputs/ and is logged as the section `tracking` of the configuration says. Raises InputError if
    there is no such epoch or no run that ends with it, if data, code or machine are not those of `run`, or if the state
    of the epoch is gone, and RunError if MLflow does not have all of a new run and `tracking.required` asks for that.
    """
    record, history = run.read_finished(), run.read_history()
    if not 1 <= epoch <= len(history):
        raise InputError(f"run {record.run_id} has no epoch {epoch}; it consists of the epochs 1…{len(history)}")
    if epoch == len(history):
        return run
    wanted = _parameters_of_epoch(parameters(run.read_config()), epoch, record)
    cfg = _load(wanted, tracking)
    check_data(cfg)
    data = prepared_for(cfg)
    if data.sha256 != record.data_sha256:
        raise InputError(
            f"run {record.run_id} was trained on other data than {cfg.prepare.source} gives now; "
            f"{_train_it(wanted)} trains on these"
        )
    identity = segments(wanted, data.sha256)[-1].identity
    _check_identity(record, identity, wanted)
    found = find_finished(fingerprint(wanted, data.sha256), tracking.experiment)
    if found:
        print(f"already finished: {found.read_record().name} ({display_path(found.path)})", flush=True)
        return found
    _check_state(cfg, identity, epoch, wanted)
    folder, typed = folder_inside("outputs", hydra_settings([]), "run"), _changed(wanted)
    if folder.exists():
        raise InputError(f"{display_path(folder)}: is there already; hydra.run.dir must name a new folder for each run")
    run_configuration(cfg, folder, typed, run_name(typed), may_train=False)
    return RunDirectory(folder)


def _parameters_of_epoch(values: dict[str, Any], epoch: int, record: RunRecord) -> dict[str, Any]:
    """The parameters of the run that ends with an epoch of the run with `values`. Raises InputError if none does."""
    epochs, cooldown = values[EPOCHS], values[COOLDOWN]
    shared = epochs - cooldown  # that do not depend on train.epochs
    if epoch > shared:
        earlier = f"epoch {shared} or an earlier one, or " if shared else ""
        raise InputError(
            f"epoch {epoch} of run {record.run_id} lies in its cooldown (epochs {shared + 1}…{epochs}), whose rates "
            f"depend on {EPOCHS}={epochs}, so no run ends with it; take {earlier}the run as it ended"
        )
    return values | {EPOCHS: epoch, COOLDOWN: 0, PATIENCE: None}


def _load(wanted: dict[str, Any], tracking: DictConfig) -> DictConfig:
    """The configuration with these parameters, whatever params.yaml says. Raises InputError if it is not allowed."""
    logged = [as_override(f"tracking.{key}", tracking[key]) for key in ("enabled", "experiment")]
    return load([*_removed(wanted), *_as_typed(wanted), *logged])


def _check_identity(record: RunRecord, wanted: Identity, values: dict[str, Any]) -> None:
    """Raise InputError unless a run here trains as this one was trained, before its cooldown."""
    known = dict(record.identity)
    known["parameters"] = {
        key: value for key, value in known.get("parameters", {}).items() if key not in (EPOCHS, COOLDOWN)
    }
    if known == wanted:
        return
    other = [name for key, name in PARTS.items() if record.identity and known.get(key) != wanted.get(key)]
    how = f"under other conditions than here ({', '.join(other)})" if other else "in a way that is not known"
    old_code = record.git_commit and PARTS["code"] in other
    checkout = f"check out its commit {record.git_commit}, or " if old_code else ""
    raise InputError(
        f"run {record.run_id} was trained {how}, so no run here has its epochs; {checkout}train one with "
        f"{_train_it(values)}"
    )


def _check_state(cfg: DictConfig, identity: Identity, epoch: int, wanted: dict[str, Any]) -> None:
    """Raise InputError unless the undamaged state of an epoch is in the store. From now on it counts as used."""
    store = state_store(cfg)
    kept = store and epoch in kept_epochs(store, trajectory_key(identity))
    state = open_states(store, identity, cfg.trajectories.max_gb).newest(epoch) if store and kept else None
    if state is None or state.epoch != epoch:
        shown = store if isinstance(store, str) or store is None else display_path(store)
        where = f"{shown} has" if shown else "trajectories.max_gb=0 keeps"
        raise InputError(
            f"{where} no state of epoch {epoch} of this training, so it would have to be trained; "
            f"{_train_it(wanted)} does that"
        )


def _train_it(wanted: dict[str, Any]) -> str:
    """The command that trains a run with these parameters."""
    return f"`{shlex.join(['epochwise', 'run', *_removed(wanted), *_changed(wanted)])}`"


def _removed(wanted: dict[str, Any]) -> list[str]:
    """The overrides that remove from params.yaml the parameters of another network."""
    own = [key for key in parameters(read_params()) if key.startswith(f"{OWN_PARAMETERS}.")]
    return [f"~{key}" for key in own if key not in wanted]


def _changed(wanted: dict[str, Any]) -> list[str]:
    """The overrides by which these parameters differ from params.yaml, and `train.epochs` in any case."""
    params = read_params()
    keys = [key for key, value in wanted.items() if key == EPOCHS or _select(params, key) != value]
    return _as_typed({key: wanted[key] for key in keys})


def _select(params: DictConfig, key: str) -> object:
    value = OmegaConf.select(params, key)
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def _as_typed(values: dict[str, Any]) -> list[str]:
    return [as_override(key, value) for key, value in values.items()]
