"""The leaderboard as text: markdown, csv, json, or a table on the terminal."""

import hashlib
import json
import statistics

from omegaconf import OmegaConf

from epochwise.common.paths import display_path, main_root
from epochwise.common.tables import as_csv, as_json, as_markdown, print_table
from epochwise.common.terminal import Terminal
from epochwise.common.wording import counted, listed, span
from epochwise.config.params_file import read_params
from epochwise.report.charts import shown
from epochwise.report.shared_epochs import distinct_epochs, shared_epochs
from epochwise.runs.directory import REPORT
from epochwise.sweeps.halving import RUNG_KEY
from epochwise.sweeps.leaderboard import Leaderboard, Setting
from epochwise.sweeps.paired_test import LEVEL, correction, name_of_test
from epochwise.sweeps.search_notes import decision_notes, regret_notes
from epochwise.tracking.address import how_to_show, is_remote
from epochwise.tracking.sweep_mirror import curves_link
from epochwise.trajectory.identity import OF_A_HOST

METRICS = ("val_accuracy", "val_loss", "best_epoch", "best_val_accuracy", "test_accuracy", "test_loss")  # columns
COSTS = ("epochs_trained", "epochs_reused", "train_seconds", "trajectory_seconds")  # columns that are sums
DISPENSABLE = ("val_loss", "trained", "reused", "best epoch", "time", "run", "n")  # a narrow terminal lacks the first
SHORT_ID = 8  # characters of a run's id in the table


def as_text(leaderboard: Leaderboard, form: str, seeds: bool = False) -> str:
    """The leaderboard as markdown, csv or json. With `seeds` the runs of each setting stand below it."""
    return {"markdown": _markdown, "csv": _csv, "json": _json}[form](leaderboard, seeds)


def digest(leaderboard: Leaderboard) -> str:
    """SHA-256 over all that the leaderboard says. It shows whether MLflow has this leaderboard or an earlier one."""
    return hashlib.sha256("\n".join([as_text(leaderboard, "json"), *footer(leaderboard)]).encode()).hexdigest()


def rows(leaderboard: Leaderboard) -> list[dict[str, object]]:
    """A row for each setting in full precision, best first. Seconds and epochs are sums over its n runs."""
    made = []
    for rank, setting in enumerate(leaderboard.settings, 1):
        row: dict[str, object] = {"rank": rank}
        row |= {key: plain(setting.parameters.get(key, "")) for key in leaderboard.keys}
        row |= {"epochs": _mean_epochs(setting), "n": len(setting.results)}
        row |= {"dropped_at": leaderboard.dropped_at(setting)} if leaderboard.rungs else {}
        for metric in METRICS:
            row |= {metric: setting.mean(metric), f"{metric}_sd": setting.deviation(metric)}
        row |= {cost: _sum(setting, cost) for cost in COSTS}
        made.append(row | {"runs": _run_ids(setting)})
    return made


def rows_of_runs(setting: Setting) -> list[dict[str, object]]:
    """A row for each run of a setting in full precision, best first: what sets it apart from the others, and costs."""
    return [
        {"seed": result.point.parameters["seed"], "epochs": result.record.epochs}
        | {metric: result.metrics[metric] for metric in METRICS}
        | {cost: getattr(result.record, cost) for cost in COSTS}
        | {"run": result.record.run_id}
        for result in setting.results
    ]


def cells(leaderboard: Leaderboard, unfolded: bool = False) -> tuple[list[str], list[list[str]]]:
    """Heads and lines of the table for people; if it is `unfolded`, the runs of each setting stand below it."""
    seeds = "seed" in leaderboard.sweep.varied
    epochs = leaderboard.shows_epochs
    heads = ["", *_heads_of_keys(leaderboard), *["epochs"] * epochs, *["n"] * seeds, *["seed"] * unfolded]
    dropped = bool(leaderboard.rungs)
    heads += ["dropped at"] * dropped
    heads += ["val_accuracy", "val_loss", "best epoch", "test_accuracy", "trained", "reused", "time", "run"]
    lines = []
    for rank, setting in enumerate(leaderboard.settings, 1):
        line = [str(rank), *(str(plain(setting.parameters.get(key, ""))) for key in leaderboard.keys)]
        line += [span(setting.epochs)] * epochs + [str(len(setting.results))] * seeds
        several = len(setting.results) > 1
        line += ["" if several else str(setting.results[0].point.parameters["seed"])] * unfolded
        line += [str(leaderboard.dropped_at(setting) or "")] * dropped
        line += [_mean(setting, "val_accuracy", 4), _mean(setting, "val_loss", 4)]
        line += [_mean(setting, "best_epoch", 1 if seeds else 0), _mean(setting, "test_accuracy", 4)]
        trained, reused, seconds = (_sum(setting, cost) for cost in COSTS[:3])
        lines.append([*line, str(trained), str(reused), f"{seconds:.0f} s", _median_id(setting)])
        for result in setting.results if unfolded and several else ():
            line = ["", *[""] * len(leaderboard.keys), *[str(result.record.epochs)] * epochs, *[""] * seeds]
            line += [str(result.point.parameters["seed"]), *[""] * dropped]
            line += [f"{result.metrics[name]:.4f}" for name in ("val_accuracy", "val_loss")]
            line += [str(result.metrics["best_epoch"]), f"{result.metrics['test_accuracy']:.4f}"]
            trained, reused, seconds = (getattr(result.record, cost) for cost in COSTS[:3])
            lines.append([*line, str(trained), str(reused), f"{seconds:.0f} s", result.record.run_id[:SHORT_ID]])
    return heads, lines


def notes(leaderboard: Leaderboard) -> list[str]:
    """How the settings are ranked and compared, what their runs cost, and which points are the same run."""
    lines = []
    if leaderboard.settings:
        lines = [*_ranking(leaderboard), *_early_ends(leaderboard), *_over_seeds(leaderboard), _cost(leaderboard)]
    lines += _beside_best(leaderboard)
    lines += _processors(leaderboard) if leaderboard.sweep.mixed else []
    lines += decision_notes(leaderboard.sweep, leaderboard.decisions) + regret_notes(leaderboard.regrets)
    return lines + _same_runs(leaderboard) + _repeated(leaderboard)


def problems(leaderboard: Leaderboard) -> list[str]:
    """The points that failed, with the reason, those that were not run, and what keeps a search from being read."""
    lines = [f"failed: {name}: {reason}" for name, reason in leaderboard.failures]
    if leaderboard.undecided:
        lines.append(f"which settings went on is not shown: {leaderboard.undecided}")
    if leaderboard.missing:
        lines.append(f"not run yet: {'; '.join(leaderboard.missing)}; the same command runs what is missing")
    for sweep_id in leaderboard.broken_off:
        which = f"the search of sweep {sweep_id}" if leaderboard.several else "the search"
        lines.append(f"{which} is not finished, so a better setting may follow; the same command goes on with it")
    return lines


def footer(leaderboard: Leaderboard) -> list[str]:
    """The lines below the table: notes, problems, and how to use the best run."""
    lines = notes(leaderboard) + problems(leaderboard)
    if leaderboard.best:
        chosen = _median_id(leaderboard.settings[0]) if leaderboard.several else f"--sweep {leaderboard.sweep.id}"
        command = f"epochwise promote {chosen} --params && dvc repro"
        lines.append(f"to make the best setting the pipeline's default: {command}")
    return lines


def print_leaderboard(leaderboard: Leaderboard, seeds: bool = False) -> None:
    """Print the table, its footer, where its files are and the links to the runs. `seeds` as for `as_text`."""
    console = Terminal()
    title = f"sweep {leaderboard.sweep.id}"
    left_out = print_table(*cells(leaderboard, seeds), DISPENSABLE, console, title) if leaderboard.settings else []
    sweep, lines = leaderboard.sweep, [*_left_out(left_out), *footer(leaderboard), *_other_data(leaderboard)]
    if not leaderboard.several:
        lines.append(f"files {display_path(sweep.folder)}")
    if (sweep.folder / REPORT).is_file() and not leaderboard.several:
        lines.append(f"report {display_path(sweep.folder / REPORT)}")
    if sweep.link:
        served = "" if is_remote(main_root()) else f"  (after: {how_to_show(main_root())})"
        lines += [f"runs {sweep.link}{served}", f"curves {curves_link(sweep.link)}{served}"]
    for line in lines:
        console.print(line, markup=False)


def plain(value: object) -> object:
    """A parameter's value as one cell: a list as text, all else as it is, so that numbers stay numbers."""
    return shown(value) if isinstance(value, list) else value


def short(key: str) -> str:
    """The last word of a parameter's key."""
    return key.split(".")[-1]


def _markdown(leaderboard: Leaderboard, seeds: bool) -> str:
    below = "".join(f"\n{line}\n" for line in footer(leaderboard))
    return as_markdown(*cells(leaderboard, seeds)) + below


def _csv(leaderboard: Leaderboard, seeds: bool) -> str:
    """A line for each setting; with `seeds` one for each run below it, which has a seed."""
    made = []
    for row, setting in zip(rows(leaderboard), leaderboard.settings, strict=True):
        made.append(row | ({"seed": ""} if seeds else {}) | {"runs": " ".join(_run_ids(setting))})
        for own in rows_of_runs(setting) if seeds else ():
            values = {key: value for key, value in own.items() if key != "run"}
            no_deviation = {key: None for key in row if key.endswith("_sd")}
            made.append(row | no_deviation | {"n": 1, "runs": own["run"]} | values)
    return as_csv(made, list(made[0]) if made else ["rank"])


def _json(leaderboard: Leaderboard, seeds: bool) -> str:
    made = rows(leaderboard)
    for row, setting in zip(made, leaderboard.settings, strict=True):
        row |= {"seeds": rows_of_runs(setting)} if seeds else {}
    content: dict[str, object] = {
        "sweep": leaderboard.sweep.id,
        "validation": leaderboard.validation,
        "rows": made,
    }
    beside = leaderboard.beside_best
    content |= {"beside_best": {"p_values": beside.p_values, "not_compared": beside.not_compared}}
    content |= {"notes": notes(leaderboard), "failed": dict(leaderboard.failures), "not_run": leaderboard.missing}
    content |= {"search_ended": leaderboard.sweep.search_ended} if leaderboard.sweep.search else {}
    return as_json(content)


def _left_out(columns: list[str]) -> list[str]:
    return [f"not shown at this width: {', '.join(columns)}; --format csv shows all"] if columns else []


def _other_data(leaderboard: Leaderboard) -> list[str]:
    """How to take the data of the best setting, too, if they are not those of params.yaml."""
    best, params = leaderboard.best, read_params()
    values = best.point.parameters if best else {}
    other = [
        f"{key}={value}"
        for key, value in values.items()
        if key.startswith("prepare.") and OmegaConf.select(params, key) != value
    ]
    if not other:
        return []
    return [f"its data is not that of params.yaml but {', '.join(other)}; --params --data takes that, too"]


def _ranking(leaderboard: Leaderboard) -> list[str]:
    first = "the rung that was reached, then by " if leaderboard.rungs else ""
    if leaderboard.sweep.validates_on_test:
        lines = [
            f"ranked by {first}val_accuracy on the test set, which is validation here: not fit for choosing a setting"
        ]
    else:
        lines = [f"ranked by {first}val_accuracy of the last epoch, on validation images; the test set never ranks"]
    if len({point.data_sha256 for point in leaderboard.sweep.points if point.data_sha256}) > 1:
        lines.append("the settings differ in their data, so their validation images may not be the same")
    return lines


def _heads_of_keys(leaderboard: Leaderboard) -> list[str]:
    """The heads of what sets settings apart; `train.epochs` whole beside a column with the epochs that there were."""
    return [key if key == "train.epochs" and leaderboard.shows_epochs else short(key) for key in leaderboard.keys]


def _mean_epochs(setting: Setting) -> float:
    """How many epochs its runs consist of; a whole number unless their patience has ended them after different ones."""
    return setting.epochs[0] if len(set(setting.epochs)) == 1 else statistics.fmean(setting.epochs)


def _early_ends(leaderboard: Leaderboard) -> list[str]:
    """How many runs their patience has ended."""
    early = leaderboard.ended_early
    if not early:
        return []
    measured = ", measured on the test set," if leaderboard.sweep.validates_on_test else ""
    share = f"{len(early)} of {counted(len(leaderboard.results), 'run')}"
    return [f"{share} ended before train.epochs, for val_accuracy{measured} had not risen for train.patience epochs"]


def _over_seeds(leaderboard: Leaderboard) -> list[str]:
    if all(len(setting.results) == 1 for setting in leaderboard.settings):
        return []
    return [
        "over the n seeds of a setting: metrics are mean ± standard deviation; trained, reused and time are sums; "
        "run is the one with the median val_accuracy"
    ]


def _beside_best(leaderboard: Leaderboard) -> list[str]:
    """Which settings cannot be told apart from the best one, in a line; none if there is no other setting."""
    found, best = leaderboard.beside_best, leaderboard.settings[:1]
    if not found.p_values and not found.not_compared:
        return []
    test, alike = name_of_test(len(best[0].results)) + correction(len(found.p_values)), found.within_chance
    reached = f" of this rung ({counted(best[0].parameters[RUNG_KEY], 'epoch')})" if leaderboard.rungs else ""
    others = f"{counted(len(found.p_values), 'other setting')}{reached}"
    parts = []
    if alike:
        named = listed((f"{_named(leaderboard, rank)} (p = {p:.2f})" for rank, p in alike.items()), separator="; ")
        rule = f"{test}, p of {LEVEL:g} or more"
        parts.append(f"{len(alike)} of {others} cannot be told apart from the best one ({rule}): {named}")
    elif found.p_values:
        parts.append(f"the best setting differs from {others} by more than chance ({test}, p below {LEVEL:g})")
    for reason in dict.fromkeys(found.not_compared.values()):
        ranks = [rank for rank, why in found.not_compared.items() if why == reason]
        named = listed((_named(leaderboard, rank) for rank in ranks), separator="; ")
        parts.append(f"not compared with the best one ({reason}): {named}")
    if found.left_out:
        parts.append(f"{counted(found.left_out, 'setting')} further below were not compared")
    return ["; ".join(parts)]


def _named(leaderboard: Leaderboard, rank: int) -> str:
    """What sets a setting apart from the others that it is compared with: `dense_dropout=0.5 learning_rate=0.001`."""
    values = leaderboard.settings[rank - 1].parameters
    return " ".join(f"{short(key)}={plain(values.get(key, ''))}" for key in leaderboard.keys_on_rung)


def _cost(leaderboard: Leaderboard) -> str:
    """How many epochs the finished runs consist of, whichever run trained them and in however many attempts."""
    records = [result.record for result in leaderboard.results]
    seconds = sum(record.trajectory_seconds for record in records)
    epochs, names = sum(record.epochs for record in records), [record.run_id for record in records]
    once = distinct_epochs(shared_epochs(records, names, names)) if leaderboard.sweep.reuse else epochs
    alone = f"{counted(epochs, 'epoch')}, {seconds:.0f} s of training"
    if once == epochs:
        return f"the runs consist of {alone}"
    return f"the runs consist of {counted(once, 'epoch')} if those in common count once; trained one by one: {alone}"


def _processors(leaderboard: Leaderboard) -> list[str]:
    """On which kinds of processors a mixed sweep was run."""
    kinds: dict[str, list[str]] = {}
    for result in leaderboard.results:
        identity = result.record.identity
        name = identity.get("processor", {}).get("model name", "unknown")
        kinds.setdefault(json.dumps([identity.get(part) for part in OF_A_HOST]), []).append(name)
    if len(kinds) < 2:
        return []
    shown = ", ".join(f"{counted(len(names), 'run')} on {names[0]}" for names in kinds.values())
    return [
        f"mixed: the runs are of {len(kinds)} kinds of processors ({shown}), each with trajectories of its own; "
        "between them results differ in their last bits"
    ]


def _same_runs(leaderboard: Leaderboard) -> list[str]:
    """Points that are the same run, such as those of a parameter that another one makes ineffective."""
    names: dict[str, list[str]] = {}
    for point in leaderboard.sweep.points:
        if point.fingerprint:
            names.setdefault(point.fingerprint, []).append(point.name)
    return [f"the same run: {', '.join(same)}" for same in names.values() if len(same) > 1]


def _repeated(leaderboard: Leaderboard) -> list[str]:
    """Runs of several sweeps that do not count: as further seeds they would make a setting look surer than it is."""
    ids = [result.record.run_id[:SHORT_ID] for result in leaderboard.repeated]
    if not ids:
        return []
    first = "the one that counts is of the sweep named first"
    return [f"{counted(len(ids), 'run')} with setting, seed and data of another one not shown: {listed(ids)}; {first}"]


def _mean(setting: Setting, metric: str, digits: int) -> str:
    """The mean, with the standard deviation over several runs."""
    deviation = setting.deviation(metric)
    return f"{setting.mean(metric):.{digits}f}" + ("" if deviation is None else f" ± {deviation:.{digits}f}")


def _median_id(setting: Setting) -> str:
    """The start of the id of the setting's run, of several seeds that with the median, as `promote` takes it."""
    return setting.median.record.run_id[:SHORT_ID]


def _run_ids(setting: Setting) -> list[str]:
    return [result.record.run_id for result in setting.results]


def _sum(setting: Setting, cost: str) -> float:
    return sum(getattr(result.record, cost) for result in setting.results)
