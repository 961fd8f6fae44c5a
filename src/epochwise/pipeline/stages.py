"""The stages as they are run: one by one for DVC, or all for one configuration in a run directory of its own."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock
from omegaconf import DictConfig, OmegaConf

from epochwise.common import locks
from epochwise.common.errors import InputError, RunError
from epochwise.common.files import digest, write_json, write_text
from epochwise.common.paths import find_root, main_root
from epochwise.config.compose import check_network, check_split, parameter_keys, parameters
from epochwise.data import sources
from epochwise.data.prepare import prepare
from epochwise.data.prepared import META, Prepared, read_meta
from epochwise.runs import directory as rundir
from epochwise.runs.lineage import changed_parameters, trace
from epochwise.tracking import orphans as running
from epochwise.tracking.recorder import Live
from epochwise.tracking.server import is_remote, place
from epochwise.trajectory.identity import fingerprint

PREPARED, MODELS, REPORTS = Path("data/prepared"), Path("models"), Path("reports")  # DVC's outputs, see dvc.yaml
PREPARING_CODE = ("data/prepared.py", "data/prepare.py", "data/sources.py")


def cache() -> Path:
    """What is fetched or prepared once for all copies of the project."""
    return main_root() / "data" / "cache"


def store(cfg: DictConfig) -> Path | None:
    """Where the states of trainings are kept for all copies of the project; None if `cfg` wants none."""
    return main_root() / "trajectories" if cfg.train.reuse and cfg.trajectories.max_gb else None


def check_data(cfg: DictConfig) -> None:
    """Raise InputError if the source is missing, broken, or of a size that does not fit. Downloads nothing."""
    shape = sources.shape_of(cfg.prepare.source, cache())
    check_split(cfg, shape)
    check_network(cfg, shape.image)


def prepare_stage(cfg: DictConfig) -> None:
    """data/prepared. Raises InputError as `check_data` does, or if the data cannot be fetched."""
    check_data(cfg)
    prepared = prepare(cfg, find_root() / PREPARED, cache())
    counts = ", ".join(f"{prepared.meta[f'{part}_images']} {part}" for part in ("train", "validation", "test"))
    print(f"{PREPARED}: {counts} images of {'×'.join(map(str, prepared.image_shape))}, {prepared.classes} classes")


def train_stage(cfg: DictConfig) -> None:
    """models, from data/prepared. Raises InputError if that is not what `cfg` asks for, RunError if training fails."""
    root = find_root()
    prepared = open_prepared(root / PREPARED, cfg.prepare)
    from epochwise.training.loop import train

    overrides = changed_parameters(root, cfg)
    with tracked(cfg, prepared, root / MODELS, overrides, run_name(overrides) or "baseline") as (live, record):
        train(cfg, prepared, root / MODELS, record, store(cfg), live.tell)


def evaluate_stage(cfg: DictConfig) -> None:
    """reports, from models and data/prepared. Raises InputError unless models holds a finished training."""
    root = find_root()
    prepared = open_prepared(root / PREPARED, cfg.prepare)
    with locks.at_work(main_root(), root / MODELS):
        record = rundir.read_finished(root / MODELS)
        _check_trained_with(cfg, rundir.read_config(root / MODELS))
        from epochwise.evaluation.evaluate import evaluate

        live = Live(main_root(), cfg, root / MODELS, root / REPORTS)
        live.start()
        try:
            metrics = evaluate(cfg, prepared, root / MODELS, root / REPORTS, record)
        finally:
            live.end(record)
    report(metrics, live)
    require(live)


def _check_trained_with(cfg: DictConfig, trained: DictConfig) -> None:
    now, then = parameters(cfg), {key: OmegaConf.select(trained, key) for key in parameters(cfg)}
    other = [f"{key}={then[key]}" for key in now if key.startswith(("model.", "train.")) and then[key] != now[key]]
    if other:
        raise InputError(f"{MODELS}: was trained with {', '.join(other)}, not with what is asked for; train again")


def run_all(
    cfg: DictConfig, folder: Path, overrides: list[str], name: str = "", sweep: str = "", expected: str | None = None
) -> None:
    """All stages for one configuration in `folder`, DVC's outputs untouched; named, unless told, by the `overrides`.

    A sweep gives its id and the `expected` fingerprint. Raises RunError if the run would be another one.
    """
    check_data(cfg)
    prepared = prepared_for(cfg)
    if expected and expected != fingerprint(cfg, prepared.sha256):
        raise RunError("code, libraries or data were changed while the sweep ran; start it again")
    with tracked(cfg, prepared, folder, overrides, name or run_name(overrides) or "run", sweep) as (live, record):
        from epochwise.evaluation.evaluate import evaluate
        from epochwise.training.loop import train

        train(cfg, prepared, folder, record, store(cfg), live.tell)
        metrics = evaluate(cfg, prepared, folder, folder, record)
    print(f"files {folder.relative_to(find_root()) if folder.is_relative_to(find_root()) else folder}")
    report(metrics, live)


def report(metrics: dict[str, float], live: Live) -> None:
    print(f"test accuracy {metrics['test_accuracy']:.4f} · test loss {metrics['test_loss']:.4f}")
    if live.published:
        print(f"run {live.view.link}" + ("" if is_remote(main_root()) else "  (after: make ui)"))


def run_name(overrides: list[str]) -> str:
    """What the overrides vary, by the last word of each key: `epochs=12 dense_dropout=0.5`."""
    plain = (override.lstrip("+~").partition("=") for override in overrides)
    known = parameter_keys()
    return " ".join(f"{key.split('.')[-1]}={value}" for key, _, value in plain if key in known)


def prepared_for(cfg: DictConfig) -> Prepared:
    """The data that `cfg` asks for, prepared once by this code and kept: no `dvc repro` changes it under a run."""
    code = [digest(Path(__file__).parent.parent / name) for name in PREPARING_CODE]
    parts = [OmegaConf.to_container(cfg.prepare), sources.identity(cfg.prepare.source), code]
    folder = cache() / "prepared" / hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        if (folder / META).is_file():
            with suppress(InputError):  # torn: made again
                kept = Prepared(folder, read_meta(folder))
                if kept.archive.is_file() and digest(kept.archive) == kept.sha256:
                    return kept
        return prepare(cfg, folder, cache())


def open_prepared(folder: Path, prepare: DictConfig) -> Prepared:
    """The prepared data in `folder`. Raises InputError if it is not there or was made with other parameters."""
    if not (folder / META).is_file():
        raise InputError(f"{folder}: no prepared data here; run `dvc repro prepare` first")
    meta, wanted = read_meta(folder), OmegaConf.to_container(prepare)
    made = meta["prepare"]
    other = [f"prepare.{key}={made.get(key)!r}" for key in wanted if made.get(key) != wanted[key]]
    if other:
        raise InputError(
            f"{folder}: was prepared with {', '.join(other)}, not with what is asked for; "
            "run `epochwise prepare` with the same parameters, or `dvc repro prepare`, first"
        )
    return Prepared(folder, meta)


def check_source(folder: Path, prepare: DictConfig) -> None:
    """Raise InputError if the data in `folder` was prepared just so, but from another content of the source.

    DVC cannot see this: which file the source is, if it is one, is known from params.yaml only.
    """
    if not (folder / META).is_file():
        return
    meta = read_meta(folder)
    if meta["prepare"] == OmegaConf.to_container(prepare) and meta.get("source") != sources.identity(prepare.source):
        raise InputError(f"{folder}: {prepare.source} has changed since it was prepared; run `dvc repro -f prepare`")


@contextmanager
def tracked(
    cfg: DictConfig, prepared: Prepared, folder: Path, overrides: list[str], name: str, sweep: str = ""
) -> Iterator[tuple[Live, dict]]:
    """A run that begins now, in run.json and in MLflow, and that ends with the truth: FINISHED, FAILED or KILLED.

    Raises RunError if MLflow does not have all of it and tracking.required asks for that.
    """
    check_network(cfg, prepared.image_shape)
    lineage = trace(find_root(), cfg, overrides, sweep)
    record = rundir.new_record(cfg, name, lineage, prepared)
    live, token = Live(main_root(), cfg, folder), record["token"]
    server = place(main_root()) if cfg.tracking.enabled else None
    status, reason = "FAILED", ""
    running.settle(main_root())
    with running.announced(main_root(), token, folder, server, cfg.tracking.experiment):
        try:
            rundir.clear(folder)
            write_json(folder / rundir.RECORD, record)
            if lineage.git_diff:
                write_text(folder / rundir.DIFF, lineage.git_diff)
            live.start()
            yield live, record
            status = "FINISHED"
        except (KeyboardInterrupt, SystemExit) as error:
            status, reason = "KILLED", type(error).__name__
            if store(cfg) and record["epochs_trained"]:
                done = record["epochs_reused"] + record["epochs_trained"]
                print(f"stopped after epoch {done} of {cfg.train.epochs}; the same command goes on from there")
            raise
        except BaseException as error:
            reason = f"{type(error).__name__}: {error}"
            raise
        finally:
            _end(live, folder, record | {"status": status, "failure": reason, "ended": rundir.now()})
            if live.published or not server:
                running.forget(main_root(), token)
    require(live)


def _end(live: Live, folder: Path, record: dict) -> None:
    """The disk first; but a disk that refuses does not keep MLflow from being told how the run ended."""
    with suppress(OSError):  # tried again below
        live.tell(record)
    live.end(record)
    write_json(folder / rundir.RECORD, live.view.published(record) if live.published else record)


def require(live: Live) -> None:
    if live.cfg.tracking.enabled and live.cfg.tracking.required and not live.published:
        raise RunError(f"MLflow does not have all of {live.folder}, which tracking.required asks for")
