"""One key in four places; what is refused, and how."""

import pytest
from conftest import ROOT
from omegaconf import OmegaConf

from epochwise.common.errors import InputError
from epochwise.config import compose, overrides
from epochwise.config.compose import as_overrides, hydra_settings, load
from epochwise.config.schema import BEFORE, OWN_PARAMETERS, leaf_keys, parameter_keys, parameters
from epochwise.pipeline.datasets import check_data

REFUSED = {
    "model.dense_dropout=1.0": "model.dense_dropout must be in [0, 1), got 1.0 (command line)",
    "model.conv_dropout=-0.1": "model.conv_dropout must be in [0, 1), got -0.1 (command line)",
    "train.epochs=0": "train.epochs must be in 1…2147483647, got 0 (command line)",
    "train.epochs=abc": "configuration: train.epochs must be a whole number, got 'abc'",
    "train.epochs=1.5": "configuration: train.epochs must be a whole number, got '1.5'",
    "train.learning_rate=[1]": "configuration: train.learning_rate must be a number, got '[1]'",
    "train.reuse=maybe": "configuration: train.reuse must be true or false, got 'maybe'",
    "prepare.source=[1]": "configuration: prepare.source must be a text, got '[1]'",
    "model.filters=3": "configuration: model.filters must be a list, such as [1,2], got a value of type int",
    "prepare=3": "configuration: prepare must be a mapping with keys of its own, got 3",
    "model.parameters=3": "configuration: model.parameters must be a mapping with keys of its own",
    "model.parameters=[1]": "configuration: model.parameters must be a mapping with keys of its own",
    "train.epochs=null": "configuration: train.epochs must have a value, got null",
    "~train.epochs": "configuration: train.epochs cannot be removed; every parameter has a value",
    "hydra=3": "command line: unknown key hydra",
    "train.batch_size=0": "train.batch_size must be in 1…2147483647, got 0 (command line)",
    "train.learning_rate=nan": "train.learning_rate must be a number above 0, got nan (command line)",
    "train.learning_rate=inf": "train.learning_rate must be a number above 0, got inf (command line)",
    "train.precision=float64": "train.precision must be float32 or mixed_bfloat16, got 'float64' (command line)",
    "train.decay_every=-1": "train.decay_every must be in 0…2147483647, got -1 (command line)",
    "train.decay_factor=0": "train.decay_factor must be above 0 and at most 1, got 0.0 (command line)",
    "train.cooldown_epochs=3": "train.cooldown_epochs must be in 0…2 (train.epochs), got 3 (command line)",
    **{
        f"train.patience={value}": f"train.patience must be null or a whole number of 1 or more, got {got}"
        for value, got in {"0": 0, "-1": -1, "1.5": "'1.5'", "": "''", "abc": "'abc'", "[1]": "'[1]'"}.items()
    },
    "train.patience=2147483648": "train.patience must be null or at most 2147483647, got 2147483648",
    "train.weight_decay=abc": "train.weight_decay must be null or a number of 0 or more, got 'abc'",
    "train.weight_decay=": "train.weight_decay must be null or a number of 0 or more, got ''",
    "train={patience:2,cooldown_epochs:1}": "train.patience must be null with train.cooldown_epochs=1, whose",
    "trajectories.max_gb=-1": "trajectories.max_gb must be a number of 0 or more, got -1.0 (command line)",
    "train.threads=0": "train.threads must be in 1…1024, got 0 (command line)",
    "model.filters=[32]": "model.filters must be two whole numbers of 1 or more, got [32] (command line)",
    "seed=-1": "seed must be in 0…2147483647, got -1 (command line)",
    "train.epoch=3": "command line: unknown key train.epoch; did you mean train.epochs?",
    "dropout=0.1": "command line: unknown key dropout; did you mean model.conv_dropout?",
    "+train.foo=3": "command line: unknown key train.foo; `epochwise run --help` lists the keys",
    "foo=1": "command line: unknown key foo; `epochwise run --help` lists the keys",
    "experiment=sead": "command line: no preset experiment=sead; there is fast, quick, writeup",
    "experiment=seed": "command line: experiment=seed is now called experiment=writeup",
    "train.epochs": "not an override: train.epochs; write key=value",
    "train epochs=3": "not an override: train epochs=3; write key=value",
    "model.dense_dropout=range(0.1": "; the closing bracket ) is missing",
    "model.filters=[8,16": "; the closing bracket ] is missing",
    "train={epochs:2": "; the closing bracket } is missing",
    "model.filters=choice([1,2],[3,4)": "; the bracket ) closes none that is open",
    "train.epochs=range(1,3))": "; the bracket ) closes none that is open",
    "prepare.source=choice('a(b',c": "; the closing bracket ) is missing",
    "prepare.source='my data": "; the quote ' is not closed",
    "prepare.source=it's": "; the quote ' is not closed",
    "prepare.source=a(b": "; the closing bracket ) is missing",
    "prepare.source=a=b": "; a value with such characters is written in quotes within quotes: ",
    "train.epochs=1,": "not an override: train.epochs=1,; a value is missing beside a comma",
    "train.epochs=range(one,two)": "not an override: train.epochs=range(one,two); 'range(one,two)': mismatch type",
    "train.epochs=rang(1,2)": "'rang(1,2)': Unknown function 'rang' Available: bool,choice,",
    "train.epochs=2,3": "command line: train.epochs=2,3 is a sweep; use `epochwise run -m`",
    "train.threads=99999999999": "train.threads must be in 1…1024, got 99999999999 (command line)",
    "train={epochs:0}": "train.epochs must be in 1…2147483647, got 0 (command line)",
    "train.epochs=${nope}": "configuration: ",
    "model.network=residual": "model.network must be writeup or FILE.py:FUNCTION, got 'residual' (command line)",
    "model.network=a.py": "model.network must be writeup or FILE.py:FUNCTION, got 'a.py' (command line)",
    "model.network=a.py:1": "model.network must be writeup or FILE.py:FUNCTION, got 'a.py:1' (command line)",
    "model.network=networks/no.py:build": "model.network: no file networks/no.py in",
    "model.width=3": "command line: unknown key model.width; did you mean model.parameters.width?",
    "model.parameters.a-b=3": "model.parameters.a-b must be a name that an argument of a function can have",
    "model.parameters.a=null": "model.parameters.a must be true or false, a number, a text, or a list of these",
    "model.parameters.a={b:1}": "model.parameters.a must be true or false, a number, a text, or a list of these",
    "train.optimizer=rmsprop": "train.optimizer must be adam, adamw or sgd, got 'rmsprop' (command line)",
    "train.momentum=0.9": "train.momentum must be 0 with train.optimizer=adam, which has none, got 0.9 (command line)",
    "train.nesterov=true": "train.nesterov must be false without train.momentum, got True (command line)",
    "train.weight_decay=0.1": "train.weight_decay must be 0 with train.optimizer=adam; adamw is Adam with weight decay",
    "train.weight_decay=-1": "train.weight_decay must be null or a number of 0 or more, got -1.0 (command line)",
    "train.beta_1=1": "train.beta_1 must be in [0, 1), got 1.0 (command line)",
    "train.epsilon=0": "train.epsilon must be a number above 0, got 0.0 (command line)",
    "train.augment.shift=2": "train.augment.shift must be in [0, 0.5], got 2.0 (command line)",
    "train.augment.zoom=1": "train.augment.zoom must be in [0, 1), got 1.0 (command line)",
    "train.augment.rotation=-1": "train.augment.rotation must be in [0, 180], got -1.0 (command line)",
    "train.augment.flip=true": "command line: unknown key train.augment.flip",
    "~train": "configuration: ",
    "tracking=null": "configuration: ",
    "tracking.experiment=''": "tracking.experiment must be a name",
    "prepare.source='~nobody-of-this-name/x'": "prepare.source: no file or folder '~nobody-of-this-name/x'",
    f"prepare.source={'x' * 300}": "prepare.source: no file or folder",
    "prepare.validation_size=1495": "prepare.validation_size must be 0, or 10…1490 for the 1500 training images",
    "prepare.source=nope.npz": "prepare.source: no file or folder 'nope.npz'",
    "prepare.train_size=1195": "prepare.train_size must be 0, or 10…1190 for the 1200 images that validation leaves",
    "model.kernel_size=5": "model.kernel_size must be 4 or less for two convolutions of 8 pixels, got 5",
    "model.pool_size=5": "model.pool_size must be 4 or less for the 4 pixels that it pools, got 5",
}


@pytest.mark.parametrize("override", REFUSED)
def test_refused_with_one_line_that_says_what_would_be_right(project, override):
    with pytest.raises(InputError) as refused:
        check_data(load([override]))
    assert REFUSED[override] in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("epochs: 2", "epoch: 2", "params.yaml: unknown key train.epoch; did you mean train.epochs?"),
        ("model:", "foo: 1\nmodel:", "params.yaml: unknown key foo; nothing reads it, so remove it"),
        ("patience: null", "patience: 1.5", "params.yaml: train.patience must be null or a whole number of 1 or more"),
        ("epochs: 2", "epochs: two", "params.yaml: train.epochs must be a whole number, got 'two'"),
        ("epochs: 2", "epochs: 0", "train.epochs must be in 1…2147483647, got 0 (params.yaml)"),
        ("  epochs: 2", "", "configuration: lacks train.epochs; params.yaml gives every parameter a value"),
        ("epochs: 2", "epochs: 2\n  epochs: 3", "params.yaml: not readable"),
        ("seed: 0", "seed: [", "params.yaml: not readable"),
        ("epochs: 2", "epochs: ${nope}", "configuration: "),
        (
            "model:",
            "model: 3\nother:",
            "params.yaml: model must be a mapping, with model.network, model.parameters, model.filters",
        ),
    ],
)
def test_a_wrong_params_yaml_is_named(project, old, new, says):
    project.edit("params.yaml", old, new)
    with pytest.raises(InputError) as refused:
        load([])
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_every_parameter_is_in_params_yaml_and_in_no_file_of_conf_but_presets(project):
    params = OmegaConf.load("params.yaml")
    assert {*parameters(params), OWN_PARAMETERS} == {*parameter_keys()} == {*leaf_keys(params)}
    for path in project.path.glob("conf/**/*.yaml"):
        of_hydra = "hydra" in path.relative_to(project.path / "conf").parts  # its keys stand under hydra.
        if path.parent.name != "experiment" and not of_hydra:
            held = OmegaConf.load(path)
            assert not [key for key in parameter_keys() if OmegaConf.select(held, key) is not None], path


def test_command_line_wins_over_preset_and_preset_over_params(project):
    assert load([]).train.epochs == 2
    assert load(["experiment=quick"]).train.epochs == 8
    assert load(["experiment=quick", "train.epochs=5"]).train.epochs == 5


def test_the_writeup_preset_is_the_write_up_whatever_params_yaml_says(project):
    project.edit("params.yaml", "dense_units: 128", "dense_units: 7")
    cfg = load(["experiment=writeup"])
    assert OmegaConf.to_container(cfg.model) == {
        "network": "writeup",
        "parameters": {},
        "filters": [32, 64],
        "kernel_size": 3,
        "pool_size": 2,
        "conv_dropout": 0.25,
        "dense_dropout": 0.5,
        "dense_units": 128,
    }
    assert (cfg.prepare.source, cfg.prepare.validation_size) == ("mnist", 0)
    assert (cfg.train.epochs, cfg.train.batch_size, cfg.train.learning_rate) == (12, 32, 0.001)


def test_the_fast_preset_does_not_depend_on_params_yaml(project):
    before = load(["experiment=fast"])
    for old, new in [
        ("dense_units: 128", "dense_units: 7"),
        ("kernel_size: 3", "kernel_size: 2"),
        ("decay_every: 0", "decay_every: 5"),
    ]:
        project.edit("params.yaml", old, new)
    assert load([]).train.decay_every == 5
    assert load(["experiment=fast"]) == before
    assert (before.prepare.source, before.prepare.validation_size, before.train.epochs) == ("mnist", 5000, 3)


def test_a_sweep_preset_without_its_plus_is_named_with_it(project):
    with pytest.raises(InputError, match=r"^configuration: sweep is chosen with a plus: \+sweep=NAME"):
        hydra_settings(["sweep=grid"])


@pytest.mark.parametrize("group", ["launcher", "sweeper"])
def test_an_unknown_launcher_or_sweeper_is_named_with_those_that_there_are(project, group):
    with pytest.raises(InputError, match=rf"^configuration: no hydra/{group}=nope; there is basic, \w+, "):
        hydra_settings([f"hydra/{group}=nope"])


def test_parameters_as_overrides_compose_to_the_same_configuration(project):
    wanted = load(["experiment=quick", r"prepare.source='some where/it\'s.npz'", "model.filters=[3,4]"])
    project.edit("params.yaml", "dense_units: 128", "dense_units: 7")
    assert load(as_overrides(wanted)) == wanted


def test_an_own_networks_parameters_need_no_plus_and_come_back_from_overrides(project):
    typed = ["model.network=networks/residual.py:build", "model.parameters.width=8", "+model.parameters.names=[a,b]"]
    cfg = load(typed)
    assert cfg.model.parameters == {"width": 8, "names": ["a", "b"]}
    values = parameters(cfg)
    assert (values["model.parameters.width"], values["model.parameters.names"]) == (8, ["a", "b"])
    assert OWN_PARAMETERS not in values
    assert load(as_overrides(cfg)) == cfg
    project.edit("params.yaml", "parameters: {} ", "parameters: {width: 4}")
    assert load([]).model.parameters == {"width": 4}
    assert load(typed[:2]).model.parameters == {"width": 8}


def test_a_run_made_before_a_parameter_was_there_has_the_value_that_it_trained_with(project):
    """And the defaults of params.yaml are these values, so that they change no result."""
    now = OmegaConf.load(ROOT / "params.yaml")
    before = OmegaConf.create({"model": {"filters": [3, 4]}, "train": {"epochs": 2}})
    for key, value in BEFORE.items():
        assert parameters(before)[key] == value == OmegaConf.select(now, key), key
    assert parameters(before)["model.filters"] == [3, 4]


def test_a_broken_preset_is_one_line(project):
    (project.path / "conf/experiment/own.yaml").write_text("train: [")
    with pytest.raises(InputError, match="^configuration: [^\n]*$"):
        load(["experiment=own"])


def test_interpolations_are_resolved(project):
    assert load(["train.threads=${train.epochs}"]).train._get_node("threads")._value() == 2


def test_grid_is_hydras_own(project):
    assert overrides.grid(["train.epochs=1,2", "model.dense_dropout=0.25,0.5"]) == [
        ["train.epochs=1", "model.dense_dropout=0.25"],
        ["train.epochs=1", "model.dense_dropout=0.5"],
        ["train.epochs=2", "model.dense_dropout=0.25"],
        ["train.epochs=2", "model.dense_dropout=0.5"],
    ]


def test_a_process_composes_once_for_each_choice_of_groups_as_long_as_the_files_stay(project, monkeypatch):
    composed = []
    compose_with_hydra = compose._compose
    monkeypatch.setattr(compose, "_compose", lambda typed: composed.append(typed) or compose_with_hydra(typed))
    assert [load([f"seed={seed}"]).seed for seed in (1, 2)] == [1, 2]
    load(["experiment=quick"])
    assert composed == [(), ("experiment=quick",)]
    project.edit("params.yaml", "dense_units: 128", "dense_units: 64")
    assert load([]).model.dense_units == 64 and composed[2:] == [()]
    project.edit("conf/experiment/quick.yaml", "epochs: ", "epochs: 1")
    assert load(["experiment=quick"]).train.epochs > 9 and composed[3:] == [("experiment=quick",)]
