"""`epochwise run --help`: what can be typed, with the presets and the parameters that the project has now."""

from pathlib import Path

from epochwise.common.paths import find_root

HELP = """\
Usage: epochwise run [-m] [KEY=VALUE]...

  Run all stages (prepare, train, evaluate) for one configuration, in a directory of its own in outputs/.
  With -m: a sweep, one run for each point of a grid, in multirun/. The same command continues what was broken off.

Examples:
  epochwise run train.epochs=3
  epochwise run experiment=fast seed=1
  epochwise run -m train.epochs=2,4 model.dense_dropout=0.25,0.5      four runs; epochs in common are trained once
  epochwise run +sweep=grid hydra/launcher=parallel                   a preset, several runs at once
  epochwise run -m hydra/sweeper=halving train.epochs=1,3,9 train.learning_rate=0.0005,0.001,0.002,0.004
                                                                      bad settings stop early
  epochwise run +sweep=grid --dry-run                                 what it would train, how long and how much disk

Presets, the files in conf/:
{presets}

How to run:
  hydra/launcher=serial|parallel      one job after the other; as many at once as there are cores
  hydra/launcher=ray|slurm            on a cluster: docs/beyond-one-machine.md
  hydra.launcher.n_jobs=2             with parallel: so many at once
  hydra/sweeper=grid|halving          every point, or the best of each rung; random and tpe draw settings from ranges
  hydra.sweeper.eta=3                 with halving: of so many settings one goes on; hydra.sweeper.keep_ties=false
  hydra.run.dir=outputs/NAME          where a run is written; hydra.sweep.dir=multirun/NAME for a sweep
  tracking=mlflow|off                 log to MLflow or not; tracking.experiment=NAME names the experiment there
  train.reuse=false                   train from nothing, and keep no states
  trajectories.store=s3://…           where states are kept: a folder or a URL; by default trajectories/
  sweep.rerun=true                    run also the points that are finished
  sweep.mixed=true                    on hosts with processors of several kinds, each with trajectories of its own

Options:
  -m, --multirun   Run every point of a grid: lists (2,4,6), ranges (range(2,13,2)), presets (experiment=fast,quick).
  --dry-run        Print what would be run, what of it is there, and what it would cost; train nothing.
  --cfg job        Print the configuration and run nothing.
  --hydra-help     Print the options of Hydra itself.
  -h, --help       Print this.

Parameters and their values in params.yaml (`epochs` under `train` is typed train.epochs):
{params}"""


def run_help() -> str:
    """The help text of this project."""
    root = find_root()
    lines = [line for group in ("experiment", "sweep") for line in _presets(root / "conf" / group)]
    params = (root / "params.yaml").read_text(encoding="utf-8", errors="replace").splitlines()
    return HELP.format(presets="\n".join(lines), params="\n".join(f"  {line}".rstrip() for line in params))


def _presets(folder: Path) -> list[str]:
    """A line for each preset: how it is typed, and the first comment in its file that says what it is."""
    plus = "+" if folder.name == "sweep" else ""
    lines = []
    for path in sorted(folder.glob("*.yaml")):
        comments = [
            line[1:].strip()
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
            if line.startswith("#")
        ]
        about = next((comment for comment in comments if not comment.startswith("@")), "")
        lines.append(f"  {f'{plus}{folder.name}={path.stem}':<22}{about}")
    return lines
