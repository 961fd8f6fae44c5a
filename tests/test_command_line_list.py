"""All that a user can type: commands with their options, configuration keys, presets.

A name that changes or goes breaks somebody's script. So this list is changed on purpose or not at all.
"""

from pathlib import Path

import click

from epochwise import cli
from epochwise.config.schema import parameter_keys, run_setting_keys

ROOT = Path(__file__).resolve().parent.parent

COMMANDS = {
    "": ["--version", "-h --help"],
    "run": ["[ARGUMENTS]..."],  # Hydra's: key=value …, -m, --cfg job, --help and the like
    "compare": ["[SWEEP|RUN]...", "--sweep ID", "--seeds", "--format table|markdown|csv|json", "-h --help"],
    "runs": ["[CONDITION]...", "--sort COLUMN", "--limit N", "--format table|markdown|csv|json", "-h --help"],
    "report": ["[SWEEP|RUN]", "--out HTML", "-h --help"],
    "predict": [
        *("[IMAGE]...", "--random N", "--seed INTEGER", "--model champion|RUN_ID|PATH", "--out PNG"),
        *("--format table|json|csv", "-h --help"),
    ],
    "export": ["[champion|RUN_ID|PATH]", "--out ONNX", "-h --help"],
    "promote": ["[RUN_ID]", "--sweep ID", "--best-epoch", "--force", "--params", "--data", "-h --help"],
    "publish": ["[SWEEP|RUN]...", "-h --help"],
    "reproduce": ["RUN_ID", "-h --help"],
    "ui": ["--port INTEGER RANGE", "-h --help"],
    "check": ["[KEY=VALUE]...", "-h --help"],
    "prepare": ["[KEY=VALUE]...", "-h --help"],
    "train": ["[KEY=VALUE]...", "-h --help"],
    "evaluate": ["[KEY=VALUE]...", "--epoch N", "-h --help"],
}

PARAMETERS = {
    "prepare": [
        *("source", "validation_size", "train_size", "split_seed"),
        *("test_size", "pixel_max", "image_size", "transpose"),
    ],
    "model": [
        *("network", "parameters", "filters", "kernel_size", "pool_size", "conv_dropout", "dense_dropout"),
        "dense_units",
    ],
    "train": [
        *("epochs", "batch_size", "optimizer", "learning_rate", "beta_1", "beta_2", "epsilon", "momentum", "nesterov"),
        *("weight_decay", "decay_every", "decay_factor", "cooldown_epochs", "patience", "threads", "precision"),
        *("augment.shift", "augment.rotation", "augment.zoom", "augment.horizontal_flip"),
    ],
}
RUN_SETTINGS = {
    "train": ["reuse"],
    "trajectories": ["store", "max_gb"],
    "tracking": ["enabled", "required", "experiment"],
    "sweep": ["rerun", "mixed"],
}
PRESETS = {
    "experiment": ["fast", "quick", "writeup"],
    "hydra/launcher": ["parallel", "ray", "serial", "slurm"],
    "hydra/sweeper": ["grid", "halving", "random", "tpe"],
    "sweep": ["dropout", "epochs", "grid", "seeds"],
    "tracking": ["mlflow", "off"],
}


def as_typed(parameter: click.Parameter, context: click.Context) -> str:
    """An option or argument as help shows it."""
    value = parameter.make_metavar(context)
    if isinstance(parameter, click.Argument):
        return value
    if isinstance(parameter.type, click.Choice):
        value = "|".join(parameter.type.choices)
    return " ".join([*parameter.opts, *([] if parameter.is_flag else [value])])


def test_commands_and_their_options():
    top = click.Context(cli.epochwise, **cli.epochwise.context_settings)
    contexts = {"": top} | {
        name: click.Context(command, parent=top, **command.context_settings)
        for name, command in cli.epochwise.commands.items()
    }
    found = {
        name: [as_typed(parameter, context) for parameter in context.command.get_params(context)]
        for name, context in contexts.items()
    }
    assert found == COMMANDS
    assert list(found) == list(COMMANDS)  # the order in which help lists them


def test_configuration_keys():
    assert list(parameter_keys()) == ["seed", *dotted(PARAMETERS)]
    assert run_setting_keys() == dotted(RUN_SETTINGS)


def dotted(sections: dict[str, list[str]]) -> list[str]:
    return [f"{section}.{key}" for section, keys in sections.items() for key in keys]


def test_presets():
    conf = ROOT / "conf"
    groups = {path.parent.relative_to(conf).as_posix() for path in conf.rglob("*/*.yaml")} - {"."}
    assert {group: sorted(path.stem for path in (conf / group).glob("*.yaml")) for group in groups} == PRESETS
