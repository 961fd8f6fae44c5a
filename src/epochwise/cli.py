"""The command line: parse, call one function, end with an exit code.

Each command imports what it needs when it runs, so that help and refusals come at once.
"""

import difflib
import errno
import functools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem

from epochwise import __version__
from epochwise.common.errors import InputError, RunError
from epochwise.common.paths import find_root
from epochwise.common.processes import exit_on_signals, print_in_any_encoding

COMPLETION = "_EPOCHWISE_COMPLETE"  # the variable by which a shell asks for completions
FORMATS = ("table", "markdown", "csv", "json")
PREDICTION_FORMATS = ("table", "json", "csv")
OUTPUTS_REMOVED = " (once that is mended, `dvc checkout --force` brings back the outputs that DVC has removed)"


def main(arguments: list[str] | None = None) -> None:
    """Run one command; without `arguments`, that of sys.argv.

    Exit code 0 is success, 1 a failed run or a server that does not answer, 2 refused input, 129 SIGHUP, 130 Ctrl-C,
    143 SIGTERM, 141 a reader of the output that has gone.
    """
    exit_on_signals()
    print_in_any_encoding()
    if instruction := os.environ.get(COMPLETION):
        from epochwise.commands.completion import answer_shell

        sys.exit(answer_shell(epochwise, COMPLETION, instruction))
    try:
        with epochwise.make_context("epochwise", list(sys.argv[1:] if arguments is None else arguments)) as context:
            epochwise.invoke(context)
        sys.stdout.flush()  # here, where a reader that has gone is no error
    except click.exceptions.Exit as end:  # after --help and --version
        sys.exit(end.exit_code)
    except click.ClickException as error:
        _end(error.format_message(), 2)
    except InputError as error:
        _end(f"{error}{OUTPUTS_REMOVED if 'DVC_STAGE' in os.environ else ''}", 2)
    except BrokenPipeError:  # `epochwise compare | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes at its end
        sys.exit(128 + signal.SIGPIPE)
    except (RunError, OSError) as error:
        refused = isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG  # whatever argument it was
        _end(str(error), 2 if refused else 1)
    except KeyboardInterrupt:
        _end("interrupted", 130)


def _end(message: str, code: int) -> NoReturn:
    for line in message.splitlines():
        print(f"error: {line}", file=sys.stderr)
    sys.exit(code)


def in_project(command: Callable[..., None]) -> Callable[..., None]:
    """Run a command at the project's root; its `typed_in` is the directory in which it was typed.

    Raises InputError outside a project.
    """

    @functools.wraps(command)
    def at_root(*arguments: Any, **options: Any) -> None:
        root, typed_in = find_root(), Path.cwd()
        os.chdir(root)
        command(*arguments, typed_in=typed_in, **options)

    return at_root


def _path_or_id(typed_in: Path, given: str | None) -> Path | str | None:
    """What was given as a path, if there is such a path from where it was typed; else as it is, an id.

    Raises InputError for an empty argument, as of a shell variable that is not set.
    """
    if given == "":
        raise InputError("an id or a directory is empty; leave it out, or name one")
    path = given and typed_in / given
    return path if path and path.exists() else given


class _Group(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)  # in the order of this file, which is that of use

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the nearest command if there is none of this name."""
        if args and not args[0].startswith("-") and args[0] not in self.commands and not ctx.resilient_parsing:
            near = difflib.get_close_matches(args[0], self.commands, n=1)
            hint = f"; did you mean {near[0]}?" if near else "; `epochwise --help` lists them"
            raise click.UsageError(f"no command {args[0]}{hint}")
        return super().resolve_command(ctx, args)


def _completer(name: str) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """A function of `commands/completion.py`, which is imported when a shell asks."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from epochwise.commands import completion

        return getattr(completion, name)(context, parameter, incomplete)

    return complete


@click.group(cls=_Group, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="epochwise %(version)s")
@click.pass_context
def epochwise(context: click.Context) -> None:
    """Train, track and compare a Keras CNN. Each epoch of a sweep is trained once."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def _stage(name: str, summary: str) -> Callable[[Callable[..., None]], click.Command]:
    """A command that takes key=value overrides."""
    completer = _completer("complete_overrides")
    overrides = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...", shell_complete=completer)

    def decorate(command: Callable[..., None]) -> click.Command:
        help_text = f"{summary}\n\nKEY=VALUE overrides a parameter: epochwise {name} train.epochs=3"
        return epochwise.command(name, help=help_text, short_help=summary)(overrides(in_project(command)))

    return decorate


@epochwise.command(
    "run",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    short_help="Run all stages for one configuration or a grid.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, shell_complete=_completer("complete_overrides"))
@in_project
def run(arguments: tuple[str, ...], typed_in: Path) -> None:
    """Run all stages for one configuration (key=value …) or, with -m, for every point of a grid."""
    from epochwise.commands.run import run

    run(list(arguments))


@epochwise.command("compare", short_help="Print the leaderboard of sweeps, or what two runs differ in.")
@click.argument("wanted", nargs=-1, metavar="[SWEEP|RUN]...", shell_complete=_completer("complete_reports"))
@click.option(
    "--sweep",
    metavar="ID",
    help="The same as SWEEP.",
    shell_complete=_completer("complete_sweeps"),
)
@click.option("--seeds", is_flag=True, help="Show the run of each seed below its setting.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True)
@in_project
def compare(wanted: tuple[str, ...], sweep: str | None, seeds: bool, form: str, typed_in: Path) -> None:
    """Print the leaderboard of sweeps (default: the latest one), best first by validation accuracy.

    Of two runs: what they differ in. SWEEP|RUN is an id, which may be shortened, or a directory; models is the
    pipeline's run.
    """
    from epochwise.commands.compare import compare

    given = (*wanted, sweep) if sweep is not None else wanted
    compare([found for one in given if (found := _path_or_id(typed_in, one))], form, seeds)


@epochwise.command("runs", short_help="List the runs on disk.")
@click.argument("conditions", nargs=-1, metavar="[CONDITION]...", shell_complete=_completer("complete_conditions"))
@click.option("--sort", default="-started", show_default=True, metavar="COLUMN", help="With a minus: largest first.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="List the first N only.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True)
@in_project
def runs(conditions: tuple[str, ...], sort: str, limit: int | None, form: str, typed_in: Path) -> None:
    """List the runs on disk that meet every CONDITION, such as status=FINISHED train.epochs=12 'val_accuracy>0.99'.

    A condition compares a parameter or a column of --format csv with =, !=, <, >, <= or >=.
    """
    from epochwise.commands.runs import runs

    runs(conditions, sort, limit, form)


@epochwise.command("report", short_help="Write report.html for a sweep or a run.")
@click.argument("wanted", required=False, metavar="[SWEEP|RUN]", shell_complete=_completer("complete_reports"))
@click.option(
    "--out", metavar="HTML", help="The file to write (default: report.html in the sweep's or run's directory)."
)
@in_project
def report(wanted: str | None, out: str | None, typed_in: Path) -> None:
    """Write report.html, a page that opens anywhere, for a sweep or a run (default: the latest).

    SWEEP|RUN is an id or a directory; models is the pipeline's run.
    """
    from epochwise.commands.report import report

    report(_path_or_id(typed_in, wanted), typed_in / out if out else None)


@epochwise.command("predict", short_help="Classify pictures or random test images.")
@click.argument("images", nargs=-1, metavar="[IMAGE]...")
@click.option("--random", "count", type=int, metavar="N", help="Classify N random test images instead.")
@click.option("--seed", type=int, help="Draw the same random images again.")
@click.option(
    "--model",
    metavar="champion|RUN_ID|PATH",
    help="The champion of these data, a registered model, a run's id or directory (default: models).",
    shell_complete=_completer("complete_models"),
)
@click.option("--out", default="predictions.png", show_default=True, metavar="PNG", help="The picture to write.")
@click.option("--format", "form", type=click.Choice(PREDICTION_FORMATS), default="table", show_default=True)
@in_project
def predict(
    images: tuple[str, ...], count: int | None, seed: int | None, model: str | None, out: str, form: str, typed_in: Path
) -> None:
    """Classify pictures (PNG, JPEG, WebP, BMP, GIF, TIFF, AVIF), or random test images, with a model."""
    from epochwise.commands.predict import predict

    predict(images, count, _path_or_id(typed_in, model), seed, typed_in / out, form, typed_in)


@epochwise.command("export", short_help="Write a model as ONNX.")
@click.argument("model", required=False, metavar="[champion|RUN_ID|PATH]", shell_complete=_completer("complete_models"))
@click.option("--out", default="model.onnx", show_default=True, metavar="ONNX", help="The file to write.")
@in_project
def export(model: str | None, out: str, typed_in: Path) -> None:
    """Write a model as ONNX: the registry's champion, a run's, or one in a run directory (default: models)."""
    from epochwise.commands.export import export

    export(_path_or_id(typed_in, model), typed_in / out)


@epochwise.command("promote", short_help="Make a run the champion in MLflow's registry.")
@click.argument("run_id", required=False, metavar="[RUN_ID]", shell_complete=_completer("complete_runs"))
@click.option(
    "--sweep",
    metavar="ID",
    help="Take the best setting of this sweep (default: of the latest one).",
    shell_complete=_completer("complete_sweeps"),
)
@click.option(
    "--best-epoch", is_flag=True, help="Take the epoch with the highest val_accuracy, as a run; trains nothing."
)
@click.option("--force", is_flag=True, help="Replace a champion that is better or not comparable.")
@click.option("--params", "write_params", is_flag=True, help="Also write the run's parameters into params.yaml.")
@click.option("--data", "write_data", is_flag=True, help="With --params: also those of prepare, which decide the data.")
@in_project
def promote(
    run_id: str | None,
    sweep: str | None,
    best_epoch: bool,
    force: bool,
    write_params: bool,
    write_data: bool,
    typed_in: Path,
) -> None:
    """Make a run the champion of its data set in MLflow's registry: RUN_ID, or the best of a sweep on validation.

    Of several seeds of the best setting, the run with the median val_accuracy is taken. A run's model is the one after
    its last epoch; --best-epoch takes that of the best one on validation.
    """
    if run_id and sweep is not None:
        raise InputError("--sweep names where the best run is looked for; leave it out if you name the run")
    if write_data and not write_params:
        raise InputError("--data says what --params writes; give both")
    if run_id == "":
        raise InputError("RUN_ID is empty; leave it out, or name one")
    from epochwise.commands.promote import promote

    promote(run_id, _path_or_id(typed_in, sweep), best_epoch, force, write_params, write_data)


@epochwise.command("publish", short_help="Log to MLflow what it lacks of the runs on disk.")
@click.argument("wanted", nargs=-1, metavar="[SWEEP|RUN]...", shell_complete=_completer("complete_reports"))
@in_project
def publish(wanted: tuple[str, ...], typed_in: Path) -> None:
    """Log to MLflow what it lacks of the runs on disk.

    SWEEP|RUN is an id, which may be shortened, or a directory; models is the pipeline's run. Without one, all runs are
    published.
    """
    from epochwise.commands.publish import publish

    publish([found for one in wanted if (found := _path_or_id(typed_in, one))])


@epochwise.command("reproduce", short_help="Train a run again from nothing and compare.")
@click.argument("run_id", metavar="RUN_ID", shell_complete=_completer("complete_runs"))
@in_project
def reproduce(run_id: str, typed_in: Path) -> None:
    """Train a run again from nothing, with its own code and data, and say whether the result is the same."""
    from epochwise.commands.reproduce import reproduce

    reproduce(run_id)


@epochwise.command("ui", short_help="Show the runs in MLflow's pages.")
@click.option("--port", type=click.IntRange(1, 65535), help="The port (default: the first free one from 5000 on).")
@in_project
def ui(port: int | None, typed_in: Path) -> None:
    """Show the runs in MLflow's pages, until Ctrl-C."""
    from epochwise.commands.ui import ui

    ui(port)


@_stage("check", "Check configuration, data and dvc.yaml.")
def check(overrides: tuple[str, ...], typed_in: Path) -> None:
    """Refuse what cannot work, and note what runs will not record."""
    from epochwise.config.compose import load
    from epochwise.pipeline.checks import check_project
    from epochwise.runs.lineage import code_problem

    check_project(load(overrides))
    print("configuration, data and dvc.yaml agree")
    problem = code_problem(find_root())
    if problem:
        print(f"note: {problem}")


@_stage("prepare", "Stage 1: write data/prepared.")
def prepare(overrides: tuple[str, ...], typed_in: Path) -> None:
    from epochwise.config.compose import load

    cfg = load(overrides)
    from epochwise.pipeline.stages import prepare_stage

    prepare_stage(cfg)


@_stage("train", "Stage 2: train the CNN, write models.")
def train(overrides: tuple[str, ...], typed_in: Path) -> None:
    from epochwise.config.compose import load

    cfg = load(overrides)
    from epochwise.pipeline.stages import train_stage

    train_stage(cfg)


@click.option(
    "--epoch",
    type=click.IntRange(1),
    metavar="N",
    help="Take epoch N of this training from its state, without training, as a run of its own in outputs/.",
)
@_stage("evaluate", "Stage 3: score the test set, write reports.")
def evaluate(overrides: tuple[str, ...], epoch: int | None, typed_in: Path) -> None:
    """Evaluate the pipeline's model or, with an epoch, that of this epoch."""
    from epochwise.config.compose import load

    cfg = load(overrides)
    from epochwise.pipeline.stages import evaluate_epoch, evaluate_stage

    if epoch is None:
        evaluate_stage(cfg)
    else:
        evaluate_epoch(cfg, epoch)
