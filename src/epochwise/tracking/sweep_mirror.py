"""A sweep in MLflow: its runs with a tag each, a saved state of the runs page, and a run that sums the sweep up.

The saved state is a tag of the experiment, `mlflow.sharedViewState.KEY`, which MLflow's page reads when its address
has `viewStateShareKey=KEY`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from epochwise.runs.directory import RunDirectory
from epochwise.runs.record import FINISHED, KILLED, RunRecord, now
from epochwise.tracking.description import SOURCE_TAGS
from epochwise.tracking.run_mirror import sync_run
from epochwise.tracking.server import DESCRIPTION_TAG, Run, Server, summary_experiment

SWEEP_TAG = "sweep.id"  # of a run: the ids of all sweeps that it belongs to, with spaces between; of a summary: its own
RUNG_TAG, DROPPED_TAG = "sweep.rung", "sweep.dropped_at_epoch"  # of a search's runs
STATE_TAG = "mlflow.sharedViewState."
METRIC_COLUMNS = ("val_accuracy", "best_val_accuracy", "best_epoch", "test_accuracy", "epochs_reused", "train_seconds")
CURVES = ("val_accuracy", "val_loss")
MAX_COMPARED = 50  # runs in a link that names each of them
LONGEST_NOTE = 8000  # characters that MLflow takes as a run's description


@dataclass(frozen=True)
class SweepRun:
    """A finished run of a sweep, all parameters of its point by their dotted keys, and tags that the sweep gives it."""

    run: RunDirectory
    parameters: dict[str, Any]
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SweepContent:
    """What MLflow shows of a sweep, and which server has shown what of it before."""

    id: str
    command: str
    experiment: str
    varied: list[str]  # dotted keys of the parameters in which its points differ
    runs: list[SweepRun]  # the best first
    status: str  # FINISHED; FAILED if a run failed; KILLED if runs are missing
    best_setting: str | None  # the name of the best point
    metrics: dict[str, float]  # the numbers of runs and of failed runs, and the means of the best setting
    markdown: str  # the leaderboard
    files: list[Path]  # the leaderboard's files, which become artifacts
    digest: str  # sha256 of the leaderboard
    published: str  # the server that has the sweep, as sweep.json says; empty if none has
    published_digest: str  # of the leaderboard that this server has
    superseded: list[RunDirectory] = field(default_factory=list)  # runs that the leaderboard does not show

    @property
    def tags(self) -> list[str]:
        """The names of the tags that the sweep gives its runs."""
        return list(dict.fromkeys(name for run in self.runs for name in run.tags))


def publish_sweep(server: Server, content: SweepContent) -> str:
    """Bring MLflow up to date with a sweep: its runs and their tags, the state of the runs page, and the summary run.

    Returns the link to the runs. Raises InputError if a file of a run is damaged, and whatever MLflow raises.
    """
    experiment_id = server.experiment(content.experiment)
    records = [sweep_run.run.read_record() for sweep_run in content.runs]
    run_ids = _sync_runs(server, experiment_id, content, records)
    _leave_out_superseded(server, experiment_id, content)
    state = {"name": f"sweep {content.id}", "createdAt": now(), "updatedAt": now()}
    state["state"] = json.dumps(view_state(content.id, content.varied, content.tags))
    server.client.set_experiment_tag(experiment_id, STATE_TAG + content.id, json.dumps(state))
    page = f"{server.pages}/#/experiments/{experiment_id}"
    link = f"{page}/runs?viewStateShareKey={content.id}&workflowType=machine_learning"
    pages = {"runs": link, "curves": curves_link(link)}
    if len(run_ids) <= MAX_COMPARED:
        pages["comparison"] = compare_link(server, run_ids, experiment_id)
    _write_summary(server, content, records, pages)
    return link


def has_sweep(server: Server, content: SweepContent) -> bool:
    """Whether MLflow was brought up to date with just this content, and still has it."""
    if (content.published, content.published_digest) != (server.name, content.digest):
        return False
    experiment = server.client.get_experiment_by_name(content.experiment)
    summaries = server.client.get_experiment_by_name(summary_experiment(content.experiment))
    if experiment is None or summaries is None or STATE_TAG + content.id not in experiment.tags:
        return False
    found = server.runs(summaries.experiment_id, content.id, SWEEP_TAG)
    if not found:
        return False
    if _is_deleted(found[0]):  # by a user, which is respected
        return True
    present = {item.path for item in server.client.list_artifacts(found[0].info.run_id)}
    return {path.name for path in content.files} <= present


def curves_link(link: str) -> str:
    """The link to the runs page of a sweep, opened at its charts."""
    return f"{link}&compareRunsMode=CHART"


def compare_link(server: Server, run_ids: list[str], experiment_id: str) -> str:
    """The link to MLflow's comparison of runs. The page reads `runs` only if that is the first parameter."""
    runs, experiments = (quote(json.dumps(value, separators=(",", ":"))) for value in (run_ids, [experiment_id]))
    return f"{server.pages}/#/compare-runs?runs={runs}&experiments={experiments}&workflowType=machine_learning"


def sweep_filter(sweep_id: str) -> str:
    """MLflow's filter for the runs in a leaderboard, for its search box and for search_runs alike.

    A run can belong to several sweeps, so the id is looked for inside the tag. No sweep's id is part of another's.
    """
    return f"tags.`{SWEEP_TAG}` LIKE '%{sweep_id}%' AND attributes.status = '{FINISHED}'"


def view_state(sweep_id: str, varied: list[str], tags: Sequence[str] = ()) -> dict[str, Any]:
    """The state of MLflow's runs page, in the words of MLflow 3.17: filter, order, columns, and charts of all runs."""
    columns = [f"params.`{key}`" for key in varied] + [f"tags.`{name}`" for name in tags]
    columns += [f"metrics.`{key}`" for key in METRIC_COLUMNS]
    widths = {"attributes.`Run Name`": 230, "runDateAndNestInfo": 135}
    widths |= {column: max(80, min(115, 7 * len(column.split("`")[1]) + 24)) for column in columns} | {"duration": 80}
    return {
        "searchFilter": sweep_filter(sweep_id),
        "orderByKey": "metrics.`val_accuracy`",
        "orderByAsc": False,
        "selectedColumns": columns,
        "columnOrder": list(widths),
        "columnWidths": widths,
        "runsHiddenMode": "SHOW_ALL",  # otherwise the charts show only the first ten runs
        "isAccordionReordered": True,  # keeps the sections in this order
        "compareRunCharts": _charts(varied),
        "compareRunSections": [
            {"uuid": "sweep", "name": "Sweep", "display": True, "isReordered": True, "columns": 2, "cardHeight": 400},
            # The page adds a chart of every other metric. They are put into this section, which is closed.
            {"uuid": "rest", "name": "Model metrics", "display": False, "isReordered": False},
        ],
    }


def _charts(varied: list[str]) -> list[dict[str, Any]]:
    """Curves over epochs, all varied parameters against the accuracy, and each of them against the accuracy."""
    axis = {"xAxisKey": "step", "xAxisScaleType": "linear", "scaleType": "linear"}
    unsmoothed = {"lineSmoothness": 0, "useGlobalLineSmoothing": True, "useGlobalXaxisKey": True}
    accuracy = CURVES[0]
    cards: list[tuple[str, str, dict[str, Any]]] = [
        ("LINE", key, {"metricKey": key, "selectedMetricKeys": [key], **axis, **unsmoothed}) for key in CURVES
    ]
    selected = {"selectedParams": varied, "selectedMetrics": [accuracy], "showAllRuns": True}
    cards.append(("PARALLEL", accuracy, selected))
    for key in varied:
        axes = {"xaxis": {"key": key, "type": "PARAM"}, "yaxis": {"key": accuracy, "type": "METRIC"}}
        cards.append(("SCATTER", key, axes))
    return [
        {"uuid": f"sweep-{kind}-{name}", "type": kind, "metricSectionId": "sweep", **settings}
        for kind, name, settings in cards
    ]


def _sync_runs(server: Server, experiment_id: str, content: SweepContent, records: list[RunRecord]) -> list[str]:
    """Log the runs that MLflow lacks, and tag each with the sweep. Returns MLflow's ids of the runs, the best first.

    Runs that a user has deleted in MLflow, and runs in another experiment, are left out.
    """
    run_ids: list[str] = []
    elsewhere: dict[str, int] = {}
    for sweep_run, record in zip(content.runs, records, strict=True):
        if record.experiment != content.experiment:
            elsewhere[record.experiment] = elsewhere.get(record.experiment, 0) + 1
            continue
        found = server.runs(experiment_id, record.token) if record.published == server.name else []
        if not found and sync_run(server, sweep_run.run):
            found = server.runs(experiment_id, record.token)
        if not found or _is_deleted(found[0]):
            continue
        run_id, data = found[0].info.run_id, found[0].data
        varied = {key: sweep_run.parameters[key] for key in content.varied}
        server.log(run_id, params={key: value for key, value in varied.items() if key not in data.params})
        sweeps = data.tags.get(SWEEP_TAG, "").split()
        tags = sweep_run.tags | {SWEEP_TAG: " ".join(dict.fromkeys([*sweeps, content.id]))}
        server.log(run_id, tags={name: value for name, value in tags.items() if data.tags.get(name) != value})
        run_ids.append(run_id)
    for name, count in elsewhere.items():
        print(f"{count} of the runs are in MLflow's experiment {name}, in which they were made")
    return run_ids


def _leave_out_superseded(server: Server, experiment_id: str, content: SweepContent) -> None:
    """Take the sweep's id from the runs that the leaderboard does not show.

    A longer run has their epochs, too, and its curve would lie over theirs; or their setting was dropped with a seed
    that diverged.
    """
    for run in content.superseded:
        for found in server.runs(experiment_id, run.read_record().token):
            sweeps = found.data.tags.get(SWEEP_TAG, "").split()
            if content.id in sweeps and not _is_deleted(found):
                rest = " ".join(name for name in sweeps if name != content.id)
                server.client.set_tag(found.info.run_id, SWEEP_TAG, rest)


def _write_summary(server: Server, content: SweepContent, records: list[RunRecord], pages: dict[str, str]) -> None:
    """Create or update the sweep's summary run, whose description links to `pages` and shows the leaderboard."""
    client, experiment_id = server.client, server.experiment(summary_experiment(content.experiment))
    found = [run for run in server.runs(experiment_id, content.id, SWEEP_TAG) if not _is_deleted(run)]
    for duplicate in found[1:]:
        client.delete_run(duplicate.info.run_id)
    started = min((record.started for record in records if record.started), default=now())
    ended = max((record.ended for record in records if record.ended), default=now())
    name = " × ".join(key.split(".")[-1] for key in content.varied) or "sweep"
    tags = {SWEEP_TAG: content.id} | SOURCE_TAGS
    summary = found[0] if found else client.create_run(experiment_id, started, tags, f"{name} {content.id}")
    run_id = summary.info.run_id
    client.set_terminated(run_id, KILLED, ended)  # what it stays if this process dies before the last line
    links = " · ".join(f"[{title}]({page})" for title, page in pages.items())
    note = f"`{content.command}`\n\n{links}\n\n{content.markdown}"
    client.set_tag(run_id, DESCRIPTION_TAG, note[:LONGEST_NOTE])
    if content.best_setting:
        client.set_tag(run_id, "best.setting", content.best_setting)
    new = [(key, value, 0) for key, value in content.metrics.items() if summary.data.metrics.get(key) != value]
    server.log(run_id, new)
    for path in content.files:
        client.log_artifact(run_id, str(path))
    client.set_terminated(run_id, content.status, ended)


def _is_deleted(run: Run) -> bool:
    return bool(run.info.lifecycle_stage == "deleted")
