"""Write the page: content and charts into the template, and what its script needs as JSON."""

import functools
import json
from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from epochwise.common.wording import span
from epochwise.config.schema import OWN_PARAMETERS, PATIENCE, parameter_keys
from epochwise.evaluation.class_metrics import class_metrics
from epochwise.report import charts
from epochwise.report.content import Report, ReportedRun, ReportedSetting
from epochwise.report.shared_epochs import distinct_epochs, shared_epochs

MAX_CURVES = 200  # in one chart, those of the best settings
MAX_WITH_IMAGES = 60  # runs whose mistakes are in the page as images, the best first
MAX_WRONG = 2000  # mistakes of a run that is compared with others image by image
RUN_CURVES = (("loss", ("loss", "val_loss"), min), ("accuracy", ("accuracy", "val_accuracy"), max))


def render(report: Report) -> bytes:
    """The whole page, as HTML in UTF-8 that needs no other file. Bytes of file names that are no text are replaced."""
    runs = report.runs
    names = _short_names(report.keys, ["epochs"] if report.shows_epochs else [])
    labels = [_setting_label(setting, names) for setting in report.settings]
    seeds = any(len(setting.runs) > 1 for setting in report.settings)
    run_labels = [
        _run_label(run, label, seeds)
        for setting, label in zip(report.settings, labels, strict=True)
        for run in setting.runs
    ]
    trunks = shared_epochs(
        [run.record for run in runs], run_labels, [_trunk_label(report, run, names, seeds) for run in runs]
    )
    line_charts, left_out = _line_charts(report, names)
    page = (
        _environment()
        .get_template("report.html")
        .render(
            report=report,
            names=names,
            labels=labels,
            seeds=seeds,
            run_labels=run_labels,
            run_ranks=[rank for rank, setting in enumerate(report.settings, 1) for _ in setting.runs],
            line_charts=line_charts,
            colours=charts.COLOURS,
            curves_left_out=left_out,
            heat_maps=charts.heat_maps(report.on_best_rung, report.keys, names),
            parallel=charts.parallel_coordinates(report.settings, report.keys, names, labels),
            trunks=trunks,
            epochs_once=distinct_epochs(trunks),
            epochs_alone=sum(run.record.epochs for run in runs),
            data_sets=_data_sets(runs),
            lineage=_lineage(runs),
            shown=charts.shown,
            span=span,
            page_data=_page_data(report, run_labels),
        )
    )
    return page.encode(errors="replace")


@functools.cache
def _environment() -> Environment:
    loader = PackageLoader("epochwise.report")
    return Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)


def _short_names(keys: Sequence[str], taken: Sequence[str] = ()) -> dict[str, str]:
    """The last word of each key; the whole key where two of them end in the same word, or in one that is `taken`."""
    last = [key.split(".")[-1] for key in keys]
    return {
        key: word if last.count(word) == 1 and word not in taken else key for key, word in zip(keys, last, strict=True)
    }


def _setting_label(setting: ReportedSetting, names: dict[str, str], without_epochs: bool = False) -> str:
    """The values that set a setting apart: `epochs=12 dense_dropout=0.5`."""
    left_out = ("train.epochs", PATIENCE) if without_epochs else ()
    shown = {key: value for key, value in setting.values.items() if key not in left_out}
    return " ".join(f"{names[key]}={charts.shown(value)}" for key, value in shown.items())


def _run_label(run: ReportedRun, setting: str, seeds: bool) -> str:
    seed = f"seed={run.parameters.get('seed')}" if seeds else ""
    return f"{setting} {seed}".strip() or run.record.name or run.id


def _trunk_label(report: Report, run: ReportedRun, names: dict[str, str], seeds: bool) -> str:
    """What the runs of a trajectory have in common among all that the sweep varies."""
    keys = [key for key in report.keys if key not in ("train.epochs", PATIENCE, "train.cooldown_epochs")]
    values = [f"{names[key]}={charts.shown(run.parameters[key])}" for key in keys]
    return " ".join([*values, *([f"seed={run.parameters.get('seed')}"] if seeds else [])]) or "all runs"


def _line_charts(report: Report, names: dict[str, str]) -> tuple[list[charts.LineChart], int]:
    """The charts, and how many curves they leave out."""
    if not report.settings:
        return [], 0
    if len(report.runs) > 1:

        def label(setting: ReportedSetting, without_epochs: bool = False) -> str:
            return _setting_label(setting, names, without_epochs) or "all runs"

        series = {name: charts.setting_series(report.settings, name, label) for name in ("val_accuracy", "val_loss")}
        drawn = [charts.line_chart(name, found[:MAX_CURVES]) for name, found in series.items()]
        return drawn, max(0, len(series["val_loss"]) - MAX_CURVES)
    history = report.runs[0].history
    made = []
    for title, metrics, best in RUN_CURVES:
        row = best(history, key=lambda row, name=metrics[1]: row[name])  # type: ignore[misc]
        word = "lowest" if best is min else "highest"
        mark = {int(row["epoch"]): (row[metrics[1]], f"{word} {metrics[1]}: epoch {row['epoch']}")}
        made.append(charts.line_chart(title, charts.run_series(history, metrics, {metrics[1]: mark})))
    return made, 0


def _data_sets(runs: Sequence[ReportedRun]) -> list[dict[str, Any]]:
    """Each data set that the runs were trained on: where it is from, its sizes, its hash and how many runs used it."""
    found: dict[str, dict[str, Any]] = {}
    for run in runs:
        sha256 = run.record.data_sha256
        if sha256 not in found:
            meta = run.record.mlflow.get("dataset", {}).get("meta", {})
            source = str(run.parameters.get("prepare.source", ""))
            found[sha256] = {
                "source": source,
                "shape": "×".join(map(str, meta.get("image_shape", []))),
                "classes": meta.get("classes", ""),
                "train": meta.get("train_images", ""),
                "validation": meta.get("validation_images", ""),
                "test": meta.get("test_images", ""),
                "sha256": sha256,
                "runs": 0,
            }
        found[sha256]["runs"] += 1
    return list(found.values())


def _lineage(runs: Sequence[ReportedRun]) -> list[dict[str, Any]]:
    """Each commit, version and machine that runs were made with, and how many."""
    found: dict[str, dict[str, Any]] = {}
    for run in runs:
        record, tags = run.record, run.record.mlflow.get("tags", {})
        versions = record.identity.get("versions", {})
        entry = {
            "commit": record.git_commit or "",
            "dirty": record.git_dirty,
            "versions": ", ".join(
                f"{name} {number}" for name, number in [("python", tags.get("version.python", "")), *versions.items()]
            ),
            "cpu": tags.get("cpu", ""),
            "runs": 0,
        }
        key = json.dumps(entry, sort_keys=True)
        found.setdefault(key, entry)["runs"] += 1
    return list(found.values())


def _page_data(report: Report, run_labels: list[str]) -> str:
    """What the script compares, as JSON that can stand in a script element."""
    images: dict[str, str] = {}
    numbers: dict[str, int] = {}  # of data sets
    runs: list[dict[str, object]] = []
    own = (key for run in report.runs for key in run.parameters if key.startswith(f"{OWN_PARAMETERS}."))
    keys = list(dict.fromkeys([*(key for key in parameter_keys() if key != OWN_PARAMETERS), *own]))
    setting_of = [number for number, setting in enumerate(report.settings) for _ in setting.runs]
    for place, (run, label) in enumerate(zip(report.runs, run_labels, strict=True)):
        data = numbers.setdefault(run.record.data_sha256, len(numbers))
        classified = run.classified
        mistakes = run.mistakes if place < MAX_WITH_IMAGES else []
        for mistake in mistakes:
            images[f"{data}:{mistake.index}"] = mistake.png
        wrong = classified.wrong if classified and len(classified.wrong) <= MAX_WRONG else None
        runs.append(
            {
                "label": label,
                "setting": setting_of[place],
                "id": run.id,
                "folder": run.folder,
                "data": data,
                "parameters": [charts.shown(run.parameters.get(key, "")) for key in keys],
                "metrics": {name: value for name, value in run.metrics.items() if isinstance(value, (int, float))},
                "history": [
                    [row["loss"], row["accuracy"], row["val_loss"], row["val_accuracy"]] for row in run.history
                ],
                "counts": classified and classified.counts,
                "classes": classified
                and [[round(part, 6) for part in row] for row in class_metrics(classified.counts)],
                "names": run.class_names,
                "wrong": wrong,
                "test_images": classified and sum(map(sum, classified.counts)),
                "mistakes": [[m.index, m.actual, m.predicted, round(m.probability, 4)] for m in mistakes],
                "weights": run.record.weights_sha256,
                "commit": run.record.git_commit,
            }
        )
    content = {"keys": keys, "runs": runs, "images": images}
    return json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
