"""A sweep in MLflow: its runs tagged, the view that the printed link opens, and a run that sums it up.

The view is a tag of the experiment, `mlflow.sharedViewState.KEY`; MLflow's page reads it for `viewStateShareKey=KEY`.
"""

import json
import shutil
from pathlib import Path
from urllib.parse import quote

from epochwise.common.errors import InputError
from epochwise.runs import directory as rundir
from epochwise.runs.directory import now
from epochwise.sweeps.leaderboard import CHARTS, Board, digest, text
from epochwise.tracking.run_mirror import bring_level
from epochwise.tracking.server import Server, fetch_run, warn

VIEW = "mlflow.sharedViewState."
COLUMNS = ("val_accuracy", "best_val_accuracy", "best_epoch", "test_accuracy", "epochs_reused", "train_seconds")
CURVES = ("val_accuracy", "val_loss")
MOST_COMPARED = 50  # runs in a link, which names each
LONGEST_NOTE = 8000  # characters of a run's description, of which MLflow refuses more


def publish(server: Server, board: Board) -> str:
    """Tell MLflow of the sweep's runs, tag them, save their view, write the summary run; the link to the view.

    Raises whatever MLflow raises.
    """
    experiment_id = server.experiment(board.sweep.experiment)
    runs = _level_runs(server, experiment_id, board)
    made, state = now(), json.dumps(view_state(board.sweep.id, board.sweep.varied))
    view = {"name": f"sweep {board.sweep.id}", "createdAt": made, "updatedAt": made, "state": state}
    server.client.set_experiment_tag(experiment_id, VIEW + board.sweep.id, json.dumps(view))
    page = f"{server.pages}/#/experiments/{experiment_id}"
    link = f"{page}/runs?viewStateShareKey={board.sweep.id}&workflowType=machine_learning"
    _sum_up(server, board, link, runs, experiment_id)
    return link


def knows(server: Server, board: Board) -> bool:
    """Whether MLflow has been told just this of the sweep, and still has it."""
    if (board.sweep.published, board.sweep.told) != (server.name, digest(board)):
        return False
    where = server.client.get_experiment_by_name(board.sweep.experiment)
    summaries = server.client.get_experiment_by_name(_apart(board))
    if where is None or summaries is None or VIEW + board.sweep.id not in where.tags:
        return False
    summary = next(iter(server.runs(summaries.experiment_id, board.sweep.id, "sweep.id")), None)
    if summary is None or summary.info.lifecycle_stage == "deleted":
        return summary is not None
    there = {item.path for item in server.client.list_artifacts(summary.info.run_id)}
    return {path.name for path in board.files} <= there


def _apart(board: Board) -> str:
    """The experiment of the sweeps' own runs."""
    return f"{board.sweep.experiment}-sweeps"


def fetch_finished(server: Server, experiment: str, wanted: dict[str, Path]) -> dict[str, Path]:
    """Of the runs `wanted`, a folder by fingerprint, those that MLflow has finished, fetched into that folder."""
    fetched = {}
    try:
        known = server.client.get_experiment_by_name(experiment)
        for fingerprint, folder in wanted.items() if known else ():
            query = f"tags.fingerprint = '{fingerprint}' AND attributes.status = 'FINISHED'"
            for there in server.client.search_runs([known.experiment_id], query, max_results=1):
                if _fetch(server.root, there.info.run_id, fingerprint, folder):
                    fetched[fingerprint] = folder
    except Exception as error:  # see Server
        warn(error, "what is finished there only is run again")
    return fetched


def _fetch(root: Path, run_id: str, fingerprint: str, folder: Path) -> bool:
    """Whether the run is complete there and now in `folder`; run.json comes last, since with it the run counts."""
    scratch = folder.with_name(f".{folder.name}.fetched")
    shutil.rmtree(scratch, ignore_errors=True)  # of a process that was killed in here
    try:
        fetch_run(root, run_id, scratch)
        record = rundir.complete(scratch)
        if not record or record["fingerprint"] != fingerprint:
            return False
        rundir.clear(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(scratch.iterdir(), key=lambda path: path.name == rundir.RECORD):
            path.replace(folder / path.name)
        return True
    except InputError as error:
        warn(error, "it is run again")
        return False
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _level_runs(server: Server, experiment_id: str, board: Board) -> list[str]:
    """The runs' ids in MLflow, best first, each told of if it is not there, and tagged with every sweep that has it."""
    ids: list[str] = []
    elsewhere: dict[str, int] = {}
    for result in (result for row in board.rows for result in row.results):
        record = result.record
        if record["experiment"] != board.sweep.experiment:
            elsewhere[record["experiment"]] = elsewhere.get(record["experiment"], 0) + 1
            continue
        there = record["published"] == server.name and server.runs(experiment_id, record.get("token", ""))
        if not there and bring_level(server, result.folder):
            there = server.runs(experiment_id, record["token"])
        if not there or there[0].info.lifecycle_stage == "deleted":
            continue
        ids.append(there[0].info.run_id)
        varied = {key: result.point.parameters[key] for key in board.sweep.varied}
        server.log(ids[-1], params={key: value for key, value in varied.items() if key not in there[0].data.params})
        sweeps = there[0].data.tags.get("sweep.id", "").split()
        if board.sweep.id not in sweeps:
            server.client.set_tag(ids[-1], "sweep.id", " ".join([*sweeps, board.sweep.id]))
    for name, count in elsewhere.items():
        print(f"{count} of the runs are in MLflow's experiment {name}, in which they were made")
    return ids


def _sum_up(server: Server, board: Board, link: str, runs: list[str], runs_experiment: str) -> None:
    """The sweep's one run in the experiment NAME-sweeps, apart from its runs so that it never stands among them."""
    client, sweep = server.client, board.sweep
    experiment_id = server.experiment(_apart(board))
    known = [run for run in server.runs(experiment_id, sweep.id, "sweep.id") if run.info.lifecycle_stage != "deleted"]
    for double in known[1:]:
        client.delete_run(double.info.run_id)
    name = " × ".join(key.split(".")[-1] for key in sweep.varied) or "sweep"
    tags = {"sweep.id": sweep.id, "mlflow.source.name": "epochwise", "mlflow.source.type": "LOCAL"}
    started, ended = _times(board)
    summary = known[0] if known else client.create_run(experiment_id, started, tags, f"{name} {sweep.id}")
    run_id = summary.info.run_id
    client.set_terminated(run_id, "KILLED", ended)  # which it stays, should this process end before the last line
    pages = {"runs": link, "curves": link + CHARTS}
    if len(runs) <= MOST_COMPARED:
        pages["comparison"] = compare_link(server, runs, runs_experiment)
    links = " · ".join(f"[{name}]({page})" for name, page in pages.items())
    note = f"`{sweep.command}`\n\n{links}\n\n{text(board, 'markdown')}"
    client.set_tag(run_id, "mlflow.note.content", note[:LONGEST_NOTE])
    counts = {"runs": sum(len(row.results) for row in board.rows), "failed": len(board.failures)}
    if board.best:
        client.set_tag(run_id, "best.setting", board.best.point.name)
        counts |= {key: board.rows[0].mean(key) for key in ("val_accuracy", "test_accuracy")}
    server.log(run_id, [(key, value, 0) for key, value in counts.items() if summary.data.metrics.get(key) != value])
    for path in board.files:
        client.log_artifact(run_id, str(path))
    status = "FAILED" if board.failures else "KILLED" if board.missing else "FINISHED"
    client.set_terminated(run_id, status, ended)


def _times(board: Board) -> tuple[int, int]:
    """When the first of the sweep's runs started and the last one ended, in milliseconds since 1970."""
    records = [result.record for row in board.rows for result in row.results]
    started = [record["started"] for record in records if record.get("started")]
    ended = [record["ended"] for record in records if record.get("ended")]
    return min(started, default=now()), max(ended, default=now())


def sweep_filter(sweep_id: str) -> str:
    """MLflow's filter, the same in its search box and in search_runs, of the runs that stand in the leaderboard."""
    return f"tags.`sweep.id` LIKE '%{sweep_id}%' AND attributes.status = 'FINISHED'"


def view_state(sweep_id: str, varied: list[str]) -> dict:
    """What MLflow's runs page shows, in its own words (3.17): filter, order, columns, and charts of all the runs."""
    columns = [f"params.`{key}`" for key in varied] + [f"metrics.`{key}`" for key in COLUMNS]
    widths = {"attributes.`Run Name`": 230, "runDateAndNestInfo": 135}
    widths |= {column: max(80, min(115, 7 * len(column.split("`")[1]) + 24)) for column in columns} | {"duration": 80}
    return {
        "searchFilter": sweep_filter(sweep_id),
        "orderByKey": "metrics.`val_accuracy`",
        "orderByAsc": False,
        "selectedColumns": columns,
        "columnOrder": list(widths),
        "columnWidths": widths,
        "runsHiddenMode": "SHOW_ALL",  # the charts are of the first ten runs otherwise
        "isAccordionReordered": True,  # keeps the sections in this order
        "compareRunCharts": _charts(varied),
        "compareRunSections": [
            {"uuid": "sweep", "name": "Sweep", "display": True, "isReordered": True, "columns": 2, "cardHeight": 400},
            # The page adds a chart of every other metric; they go in here, closed.
            {"uuid": "rest", "name": "Model metrics", "display": False, "isReordered": False},
        ],
    }


def _charts(varied: list[str]) -> list[dict]:
    plain = {"xAxisKey": "step", "xAxisScaleType": "linear", "scaleType": "linear"}
    plain |= {"lineSmoothness": 0, "useGlobalLineSmoothing": True, "useGlobalXaxisKey": True}  # curves as they are
    accuracy = CURVES[0]
    cards = [("LINE", key, {"metricKey": key, "selectedMetricKeys": [key], **plain}) for key in CURVES]
    chosen = {"selectedParams": varied, "selectedMetrics": [accuracy], "showAllRuns": True}
    cards.append(("PARALLEL", accuracy, chosen))
    for key in varied:
        axes = {"xaxis": {"key": key, "type": "PARAM"}, "yaxis": {"key": accuracy, "type": "METRIC"}}
        cards.append(("SCATTER", key, axes))
    return [
        {"uuid": f"sweep-{kind}-{name}", "type": kind, "metricSectionId": "sweep", **more} for kind, name, more in cards
    ]


def compare_link(server: Server, runs: list[str], experiment_id: str) -> str:
    """MLflow's comparison of runs by their ids. The page reads `runs` only as the first parameter."""
    listed, experiments = (quote(json.dumps(value, separators=(",", ":"))) for value in (runs, [experiment_id]))
    return f"{server.pages}/#/compare-runs?runs={listed}&experiments={experiments}&workflowType=machine_learning"
