"""The stages as they are run: one by one for DVC, or all for one configuration in a run directory of its own."""

import hashlib
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from omegaconf import DictConfig, OmegaConf

from epochwise import InputError, rundir, sources
from epochwise.config import check_against_data, find_root, main_root, parameter_keys
from epochwise.data import ARCHIVE, META, Prepared
from epochwise.files import digest, read_json
from epochwise.lineage import changed_parameters, trace
from epochwise.prepare import prepare
from epochwise.tracking import Run

PREPARED, MODELS, REPORTS = Path("data/prepared"), Path("models"), Path("reports")  # DVC's outputs, see dvc.yaml


def cache() -> Path:
    """What is fetched or prepared once for all copies of the project."""
    return main_root() / "data" / "cache"


def prepare_stage(cfg: DictConfig) -> None:
    shape = sources.shape_of(cfg.prepare.source, cache())
    check_against_data(cfg, shape.train, shape.image, shape.classes)
    prepared = prepare(cfg, find_root() / PREPARED, cache())
    counts = ", ".join(f"{prepared.meta[f'{part}_images']} {part}" for part in ("train", "validation", "test"))
    print(f"{PREPARED}: {counts} images of {'×'.join(map(str, prepared.image_shape))}, {prepared.classes} classes")


def train_stage(cfg: DictConfig) -> None:
    root = find_root()
    prepared = open_prepared(root / PREPARED, cfg.prepare)
    overrides = changed_parameters(root, cfg)
    with tracked(cfg, prepared, root / MODELS, overrides, run_name(overrides) or "baseline") as (run, record):
        _train(cfg, prepared, root / MODELS, run, record)


def evaluate_stage(cfg: DictConfig) -> None:
    root = find_root()
    prepared = open_prepared(root / PREPARED, cfg.prepare)
    rundir.require(root / MODELS, rundir.MODEL, rundir.HISTORY, rundir.RECORD)
    run = Run.resume(main_root(), cfg, rundir.read_record(root / MODELS)["run_id"])
    report(_evaluate(cfg, prepared, root / MODELS, root / REPORTS, run), run)


def run_all(cfg: DictConfig, folder: Path, overrides: list[str], preset: str = "") -> dict[str, float]:
    """All stages for one configuration in `folder`, DVC's outputs untouched; returns the metrics."""
    prepared = prepared_for(cfg)
    name = " ".join(part for part in (preset, run_name(overrides)) if part) or "run"
    with tracked(cfg, prepared, folder, overrides, name) as (run, record):
        _train(cfg, prepared, folder, run, record)
        metrics = _evaluate(cfg, prepared, folder, folder, run)
    report(metrics, run)
    return metrics


def _train(cfg: DictConfig, prepared: Prepared, folder: Path, run: Run, record: dict) -> None:
    from epochwise.train import train

    train(cfg, prepared, folder, run, record)


def _evaluate(cfg: DictConfig, prepared: Prepared, trained: Path, folder: Path, run: Run) -> dict[str, float]:
    from epochwise.evaluate import evaluate

    return evaluate(cfg, prepared, trained, folder, run)


def report(metrics: dict[str, float], run: Run) -> None:
    print(f"test accuracy {metrics['test_accuracy']:.4f} · test loss {metrics['test_loss']:.4f}")
    if run.published:
        print(f"run {run.link}" + ("" if run.uri.startswith("http") else "  (after: make ui)"))


def run_name(overrides: list[str]) -> str:
    """What the overrides vary, by the last word of each key: `epochs=12 dense_dropout=0.5`."""
    plain = (override.lstrip("+~").partition("=") for override in overrides)
    known = parameter_keys()
    return " ".join(f"{key.split('.')[-1]}={value}" for key, _, value in plain if key in known)


def prepared_for(cfg: DictConfig) -> Prepared:
    """The pipeline's prepared data where it is what `cfg` asks for; else data of its own, prepared once and kept."""
    root = find_root()
    if is_made_with(root / PREPARED, cfg.prepare):
        return open_prepared(root / PREPARED, cfg.prepare)
    code = [digest(Path(sources.__file__).with_name(name)) for name in ("prepare.py", "sources.py")]
    parts = [OmegaConf.to_container(cfg.prepare), sources.identity(cfg.prepare.source), code]
    wanted = json.dumps(parts, sort_keys=True)
    folder = cache() / "prepared" / hashlib.sha256(wanted.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        if is_made_with(folder, cfg.prepare):
            return open_prepared(folder, cfg.prepare)
        return prepare(cfg, folder, cache())


def is_made_with(folder: Path, prepare: DictConfig) -> bool:
    """Whether `folder` holds data prepared with just these parameters from the source as it is now."""
    if not ((folder / ARCHIVE).is_file() and (folder / META).is_file()):
        return False
    meta = read_json(folder / META)
    return meta["prepare"] == OmegaConf.to_container(prepare) and meta["source"] == sources.identity(prepare.source)


def open_prepared(folder: Path, prepare: DictConfig) -> Prepared:
    """The prepared data in `folder`. Raises InputError if it is not there, torn, or made with other parameters."""
    if not (folder / META).is_file():
        raise InputError(f"{folder}: no prepared data here; run `dvc repro prepare` first")
    meta, wanted = read_json(folder / META), OmegaConf.to_container(prepare)
    other = [f"prepare.{key}={meta['prepare'].get(key)!r}" for key in wanted if meta["prepare"].get(key) != wanted[key]]
    if other:
        raise InputError(
            f"{folder}: was prepared with {', '.join(other)}, not with what this run asks for; "
            "run `dvc repro prepare` first"
        )
    if sources.identity(prepare.source) not in ("", meta["source"]):
        raise InputError(f"{folder}: {prepare.source} has changed since it was prepared; run `dvc repro -f prepare`")
    prepared = Prepared(folder, meta)
    if not zipfile.is_zipfile(prepared.archive) or digest(prepared.archive) != prepared.sha256:
        raise InputError(f"{prepared.archive}: is not as prepare wrote it; run `dvc repro -f prepare`")
    return prepared


@contextmanager
def tracked(
    cfg: DictConfig, prepared: Prepared, folder: Path, overrides: list[str], name: str
) -> Iterator[tuple[Run, dict]]:
    """A run that begins now, in run.json and in MLflow, and that ends with the truth: FINISHED, FAILED or KILLED."""
    check_against_data(cfg, prepared.training_images, prepared.image_shape, prepared.classes)
    lineage = trace(find_root(), cfg, overrides)
    record = rundir.new_record(cfg, lineage, prepared.sha256)
    run = Run.start(main_root(), cfg, name, lineage, prepared)
    record["run_id"] = run.id or record["run_id"]
    rundir.write_record(folder, record)
    status, reason = "FAILED", ""
    try:
        yield run, record
        status = "FINISHED"
    except (KeyboardInterrupt, SystemExit) as error:
        status, reason = "KILLED", type(error).__name__
        raise
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}"
        raise
    finally:
        run.end(status, reason)
        record |= {"status": status, "published": run.published}
        rundir.write_record(folder, record)
        run.log_files([folder / rundir.RECORD])
        if run.published != record["published"]:
            rundir.write_record(folder, record | {"published": run.published})
