"""The command line. Each command imports what it needs when it runs, so that help and refusals come at once."""

import argparse
import os
import signal
import sys
from pathlib import Path

from epochwise import __version__
from epochwise.common.errors import InputError, RunError
from epochwise.common.paths import find_root

FORMATS = ("table", "markdown", "csv", "json")
_AFTER_REMOVAL = " (mend it, then `dvc checkout --force` brings back the outputs that DVC has removed)"


def main() -> None:
    """Run one command. Exit code 0 for success, 1 a failed run, 2 refused input, 130 Ctrl-C, 143 SIGTERM."""
    signal.signal(signal.SIGTERM, _leave)
    try:
        root = _root_or_help()
        _run_checkout(root)
        arguments, rest = _parser().parse_known_args()
        arguments.typed_in = Path.cwd()
        os.chdir(root)
        arguments.command(arguments, rest)
    except InputError as error:
        _end(f"{error}{_AFTER_REMOVAL if 'DVC_STAGE' in os.environ else ''}", 2)
    except (RunError, OSError) as error:
        _end(error, 1)
    except KeyboardInterrupt:
        _end("interrupted", 130)


def _leave(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not stop a run from telling how it ended
    sys.exit(143)


def _end(error: Exception | str, code: int) -> None:
    for line in str(error).splitlines():
        print(f"error: {line}", file=sys.stderr)
    sys.exit(code)


def _root_or_help() -> Path:
    """The project's root; outside a project, help and version are all there is."""
    try:
        return find_root()
    except InputError:
        if {"-h", "--help", "--version"} & set(sys.argv[1:]):
            _parser().parse_known_args()
        raise


def _run_checkout(root: Path) -> None:
    """Start again from the project's src/ if this code was installed from another checkout.

    DVC runs an experiment in a copy of the project; it must run the copy's code, not that of the main checkout.
    """
    source = root / "src"
    here = Path(__file__).resolve().parent
    if (source / "epochwise" / "__main__.py").is_file() and (source / "epochwise").resolve() != here:
        if os.environ.get("EPOCHWISE_SOURCE") == str(source):
            raise InputError(f"{source}: Python does not import the package from here, but from {here}")
        path = os.pathsep.join(filter(None, [str(source), os.environ.get("PYTHONPATH")]))
        environment = os.environ | {"PYTHONPATH": path, "EPOCHWISE_SOURCE": str(source)}
        os.execve(sys.executable, [sys.executable, "-m", "epochwise", *sys.argv[1:]], environment)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        raise InputError(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="epochwise", description="A tracked, evaluated Keras CNN.")
    parser.add_argument("--version", action="version", version=f"epochwise {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    for name, does in (
        ("prepare", "stage 1: images to normalised, one-hot arrays in data/prepared"),
        ("train", "stage 2: the CNN into models, tracked in MLflow"),
        ("evaluate", "stage 3: metrics, confusion matrix and pictures into reports"),
        ("check", "refuse a wrong configuration before `dvc repro` removes anything"),
    ):
        example = f"example: epochwise {name} train.epochs=3"
        stage = commands.add_parser(name, help=does, description=does, epilog=example)
        stage.add_argument("overrides", nargs="*", metavar="key=value", help="override a parameter")
        stage.set_defaults(command=_stage, stage=name)

    does = "all stages for one configuration (key=value …), or with -m for every point of a grid"
    run = commands.add_parser("run", add_help=False, help=does)
    run.set_defaults(command=_run)

    predict = commands.add_parser("predict", help="classify pictures, or random test images, with a model")
    predict.add_argument("photos", nargs="*", metavar="IMAGE", help="a PNG or JPEG")
    predict.add_argument("--random", type=int, metavar="N", help="how many test images to draw")
    predict.add_argument("--seed", type=int, help="draw the same images again")
    which = "the registry's champion, a run's id or directory (default: models)"
    predict.add_argument("--model", metavar="champion|RUN_ID|PATH", help=which)
    predict.add_argument("--out", default="predictions.png", metavar="PNG", help="where the picture goes")
    predict.set_defaults(command=_predict)

    does = "the leaderboard of a sweep, best first by validation"
    compare = commands.add_parser("compare", help=does, description=does)
    compare.add_argument("--sweep", metavar="ID", help="its id or its directory (default: the latest)")
    compare.add_argument("--format", choices=FORMATS, default="table", help="default: table")
    compare.set_defaults(command=_compare)

    does = "make a run the champion in MLflow's registry: the best of a sweep on validation, unless told which"
    promote = commands.add_parser("promote", help=does, description=does)
    promote.add_argument("run_id", nargs="?", metavar="RUN_ID", help="as in run.json and in MLflow")
    promote.add_argument("--sweep", metavar="ID", help="its id or its directory (default: the latest)")
    promote.add_argument("--force", action="store_true", help="replace a champion that is better, or not comparable")
    promote.add_argument("--params", action="store_true", help="also write its parameters into params.yaml")
    promote.set_defaults(command=_promote)

    does = "tell MLflow what it does not have of the runs in run directories; of all of them unless told which"
    publish = commands.add_parser("publish", help=does, description=does)
    publish.add_argument(
        "folders", nargs="*", metavar="RUN_DIR", help="a run's or a sweep's; models for the pipeline's"
    )
    publish.set_defaults(command=_publish)

    does = "train a run again from nothing, with its own code and data, and say whether the result is the same"
    reproduce = commands.add_parser("reproduce", help=does, description=does)
    reproduce.add_argument("run_id", metavar="RUN_ID", help="as in run.json and in MLflow")
    reproduce.set_defaults(command=_reproduce)
    return parser


def _stage(arguments: argparse.Namespace, rest: list[str]) -> None:
    from epochwise.config import compose as config

    if rest:
        raise InputError(f"unknown argument {rest[0]}; overrides are key=value")
    cfg = config.load(arguments.overrides)
    if arguments.stage == "check":
        from epochwise.pipeline.checks import check_project

        check_project(cfg)
        print("configuration, data and dvc.yaml agree")
        return
    from epochwise.pipeline import stages as pipeline

    {
        "prepare": pipeline.prepare_stage,
        "train": pipeline.train_stage,
        "evaluate": pipeline.evaluate_stage,
    }[arguments.stage](cfg)


def _run(_: argparse.Namespace, rest: list[str]) -> None:
    from epochwise.sweeps.command import run

    run(rest)


def _compare(arguments: argparse.Namespace, rest: list[str]) -> None:
    if rest:
        raise InputError(f"unknown argument {rest[0]}")
    from epochwise.sweeps import leaderboard
    from epochwise.sweeps import record as sweepdir

    root = find_root()
    board = leaderboard.make(root, sweepdir.find(root, _typed_path(arguments, arguments.sweep)))
    if arguments.format == "table":
        leaderboard.show(board)
    else:
        print(leaderboard.text(board, arguments.format), end="")


def _promote(arguments: argparse.Namespace, rest: list[str]) -> None:
    if rest:
        raise InputError(f"unknown argument {rest[0]}")
    if arguments.run_id and arguments.sweep:
        raise InputError("--sweep names where the best run is looked for; leave it out if you name the run")
    from epochwise.commands.promote import promote

    promote(arguments.run_id, _typed_path(arguments, arguments.sweep), arguments.force, arguments.params)


def _typed_path(arguments: argparse.Namespace, given: str | None) -> Path | str | None:
    """What was given as a path from where it was typed, if there is one; else as it is, an id."""
    path = given and arguments.typed_in / given
    return path if path and path.exists() else given


def _predict(arguments: argparse.Namespace, rest: list[str]) -> None:
    if rest:
        raise InputError(f"unknown argument {rest[0]}")
    from epochwise.commands.predict import predict

    model = _typed_path(arguments, arguments.model)
    photos = [arguments.typed_in / photo for photo in arguments.photos]
    predict(photos, arguments.random, model, arguments.seed, arguments.typed_in / arguments.out)


def _publish(arguments: argparse.Namespace, rest: list[str]) -> None:
    if rest:
        raise InputError(f"unknown argument {rest[0]}")
    from epochwise.commands.publish import publish

    publish([(arguments.typed_in / folder).resolve() for folder in arguments.folders])


def _reproduce(arguments: argparse.Namespace, rest: list[str]) -> None:
    if rest:
        raise InputError(f"unknown argument {rest[0]}")
    from epochwise.commands.reproduce import reproduce

    reproduce(arguments.run_id)


if __name__ == "__main__":
    main()
