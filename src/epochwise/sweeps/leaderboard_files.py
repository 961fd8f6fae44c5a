"""The files of a leaderboard, beside sweep.json: leaderboard.{csv,json,md}, report.html, curves.png, heat_map.png."""

from pathlib import Path

from epochwise.common.directory_locks import try_lock_directory
from epochwise.common.files import write_bytes, write_text
from epochwise.common.paths import find_root, main_root
from epochwise.common.wording import counted
from epochwise.report.content import Report, ReportedRun, ReportedSetting
from epochwise.runs.directory import REPORT
from epochwise.sweeps.curves import trajectory_curves
from epochwise.sweeps.halving import RUNG_KEY
from epochwise.sweeps.leaderboard import Leaderboard, make_leaderboard
from epochwise.sweeps.table import as_text, notes, plain, problems, rows

TEXTS = {"leaderboard.csv": "csv", "leaderboard.json": "json", "leaderboard.md": "markdown"}
CURVES, HEAT_MAP = "curves.png", "heat_map.png"
MAX_CURVES = 10  # in one picture; more cannot be distinguished


def write(leaderboard: Leaderboard) -> None:
    """Write all files. Pictures and report are made only if one is missing or the leaderboard has changed since."""
    folder, texts = leaderboard.sweep.folder, {name: as_text(leaderboard, form) for name, form in TEXTS.items()}
    pictures = _pictures(leaderboard)
    up_to_date = all((folder / name).is_file() for name in (*pictures, REPORT)) and _holds(folder, texts)
    if not up_to_date:
        _draw(leaderboard, pictures)
        write_report(leaderboard)
    for name, text in texts.items():  # after the pictures, because they say what the pictures show
        write_text(folder / name, text)


def write_of_finished_searches(leaderboard: Leaderboard) -> None:
    """Write the files of the searches that a grid has finished, unless a process works there, which will do so."""
    for search in leaderboard.finished_searches:
        with try_lock_directory(main_root(), search.folder) as free:
            if free:
                write(make_leaderboard(find_root(), search))


def write_report(leaderboard: Leaderboard) -> Path:
    """Write report.html into the sweep's folder, and return its path."""
    from epochwise.report.page import render  # imports Jinja2

    path = leaderboard.sweep.folder / REPORT
    write_bytes(path, render(sweep_report(leaderboard)))
    return path


def sweep_report(leaderboard: Leaderboard) -> Report:
    """What the report of a sweep shows."""
    settings = [
        ReportedSetting(
            {key: setting.parameters[key] for key in leaderboard.keys},
            [
                ReportedRun(result.run, result.record, result.metrics, result.point.parameters)
                for result in setting.results
            ],
            {name: value for name, value in row.items() if value is None or isinstance(value, (int, float))},
        )
        for setting, row in zip(leaderboard.settings, rows(leaderboard), strict=True)
    ]
    return Report(
        title=f"sweep {leaderboard.sweep.id}",
        command=leaderboard.sweep.command,
        validation=leaderboard.validation,
        keys=leaderboard.keys,
        settings=settings,
        notes=notes(leaderboard),
        problems=problems(leaderboard),
        has_rungs=bool(leaderboard.rungs),
    )


def existing(leaderboard: Leaderboard) -> list[Path]:
    paths = [leaderboard.sweep.folder / name for name in (*TEXTS, REPORT, CURVES, HEAT_MAP)]
    return [path for path in paths if path.is_file()]


def _pictures(leaderboard: Leaderboard) -> list[str]:
    """The names of the pictures that can be drawn of the leaderboard."""
    if not leaderboard.settings:
        return []
    return [CURVES, HEAT_MAP] if len(leaderboard.keys_on_rung) == 2 else [CURVES]


def _holds(folder: Path, texts: dict[str, str]) -> bool:
    paths = {name: folder / name for name in texts}
    return all(path.is_file() and path.read_text(encoding="utf-8") == texts[name] for name, path in paths.items())


def _draw(leaderboard: Leaderboard, names: list[str]) -> None:
    if not names:
        return
    from epochwise.sweeps import pictures  # imports Matplotlib

    folder, validation = leaderboard.sweep.folder, leaderboard.validation
    curves = trajectory_curves(leaderboard)
    several_seeds = any(len(setting.results) > 1 for setting in leaderboard.settings)
    seeds = "; over several seeds mean ± standard deviation" if several_seeds else ""
    left_out = f"; the best {MAX_CURVES} of {len(curves)}" if len(curves) > MAX_CURVES else ""
    heading = f"measured on {validation}; a dot where a run ends{seeds}{left_out}"
    pictures.draw_curves(curves[:MAX_CURVES], folder / CURVES, heading)
    if HEAT_MAP in names:
        keys, shown = leaderboard.keys_on_rung, leaderboard.on_best_rung
        cells = {
            (plain(setting.parameters[keys[0]]), plain(setting.parameters[keys[1]])): setting.mean("val_accuracy")
            for setting in shown
        }
        rung = f", after {counted(shown[0].parameters[RUNG_KEY], 'epoch')}" if leaderboard.rungs else ""
        pictures.draw_heat_map(keys, cells, folder / HEAT_MAP, f"val_accuracy ({validation}{rung})")
