"""What identifies a training, and which epochs runs of other lengths share."""

import json
from importlib.metadata import version

import pytest

from epochwise.common.errors import RunError
from epochwise.config.compose import load
from epochwise.config.schema import parameters
from epochwise.training.learning_rate import learning_rate
from epochwise.trajectory import identity
from epochwise.trajectory.identity import PROCESS, check_network_code, segments, training_code, trajectory_key

COOLDOWN = "train.cooldown_epochs=2"


def keys(*overrides: str) -> list[tuple[str, int]]:
    """Trajectory and last epoch of each segment of a run."""
    parts = segments(parameters(load(list(overrides))), "data")
    return [(trajectory_key(part.identity), part.last) for part in parts]


def rates(*overrides: str) -> list[float]:
    train = load(list(overrides)).train
    return [learning_rate(train, epoch) for epoch in range(1, train.epochs + 1)]


def test_rates(project):
    assert rates("train.epochs=3") == [0.001] * 3
    decaying = rates("train.epochs=5", "train.decay_every=2", "train.decay_factor=0.1")
    assert decaying == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5])
    assert rates("train.epochs=4", COOLDOWN) == pytest.approx([1e-3, 1e-3, 2e-3 / 3, 1e-3 / 3])
    both = rates("train.epochs=4", COOLDOWN, "train.decay_every=3")
    assert both == pytest.approx([1e-3, 1e-3, 2e-3 / 3, 0.5e-3 / 3])


def test_runs_of_any_length_share_a_trajectory(project):
    for schedule in ([], ["train.decay_every=2"]):
        ((short, two),), ((long, nine),) = keys("train.epochs=2", *schedule), keys("train.epochs=9", *schedule)
        assert (short, two, nine) == (long, 2, 9)
    assert keys("train.epochs=2") != keys("train.epochs=2", "train.decay_every=2")


def test_a_cooldown_shares_its_trunk_and_has_the_rest_for_itself(project):
    trunk, own = keys("train.epochs=6", COOLDOWN)
    assert trunk == (keys("train.epochs=4")[0][0], 4)
    longer_trunk, longer = keys("train.epochs=8", COOLDOWN)
    assert longer_trunk == (trunk[0], 6)
    assert len({trunk[0], own[0], longer[0], keys("train.epochs=6", "train.cooldown_epochs=1")[1][0]}) == 4


def test_a_cooldown_over_the_whole_run_shares_nothing(project):
    found = [keys(f"train.epochs={epochs}", f"train.cooldown_epochs={epochs}") for epochs in (2, 3)]
    assert [len(parts) for parts in found] == [1, 1]
    assert found[0][0][0] != found[1][0][0]


def test_all_that_decides_a_training_is_in_its_identity(project, monkeypatch):
    plain = {keys("train.epochs=2")[0][0]}
    for override in ("seed=1", "model.dense_units=7", "train.batch_size=33", "train.threads=2"):
        plain |= {keys("train.epochs=2", override)[0][0]}
    plain |= {trajectory_key(segments(parameters(load([])), "other data")[-1].identity)}
    for part in ("versions", "code", "processor", "flags"):
        with monkeypatch.context() as patched:
            patched.setitem(PROCESS, part, {"another": "one"})
            plain |= {keys("train.epochs=2")[0][0]}
    assert len(plain) == 10


def test_the_identity_names_versions_code_processor_and_kernel_variables(project):
    """In a process of its own, because it is read once."""
    code = "from epochwise.trajectory.identity import PROCESS; import json; print(json.dumps(PROCESS))"
    printed = json.loads(
        project.ok("python", "-c", code, TF_ENABLE_ONEDNN_OPTS="0", TF_CPP_MIN_LOG_LEVEL="1", TF_VAR_secret="s")
    )
    assert printed["flags"] == {"TF_ENABLE_ONEDNN_OPTS": "0"}
    assert printed["versions"]["keras"] == version("keras")
    assert printed["code"] == training_code() and len(printed["code"]["training/loop.py"]) == 64
    assert printed["processor"]["instructions"] and printed["processor"]["caches"]


NETWORK = "model.network=networks/own.py:build"


def write_network(project, helper: str = "NAME = 'dense'\n", arguments: str = "width=8") -> None:
    folder = project.path / "networks"
    (folder / "parts.py").write_text(helper)
    (folder / "own.py").write_text(f"import parts\n\ndef build(image_shape, classes, {arguments}): ...\n")


def test_an_own_networks_code_and_what_its_function_takes_are_part_of_it(project):
    write_network(project)
    plain = keys(NETWORK)
    (part,) = segments(parameters(load([NETWORK])), "data")
    assert part.identity["network"].keys() == {"networks/own.py", "networks/parts.py"}
    assert not [key for key in part.identity["parameters"] if key.startswith("model.") and key != "model.network"]
    assert keys(NETWORK, "model.dense_units=7") == plain == keys(NETWORK.replace("networks/", "./networks/"))
    assert keys(NETWORK, "model.parameters.width=9") != plain


def test_a_parameter_of_the_write_ups_that_an_own_network_takes_is_part_of_it(project):
    write_network(project, arguments="dense_units")
    assert keys(NETWORK, "model.dense_units=7") != keys(NETWORK, "model.dense_units=8")
    assert keys(NETWORK, "model.kernel_size=2") == keys(NETWORK)


@pytest.mark.parametrize("name", ["own.py", "parts.py"])
def test_an_edit_of_an_own_network_makes_another_trajectory_but_not_in_a_process_that_knows_it(project, name):
    write_network(project)
    before = keys(NETWORK)
    check_network_code("networks/own.py:build")
    with open(project.path / "networks" / name, "a") as file:
        file.write("# edited\n")
    assert keys(NETWORK) == before
    with pytest.raises(RunError, match="networks/own.py:build was edited while this process ran"):
        check_network_code("networks/own.py:build")
    identity._network.cache_clear()
    assert keys(NETWORK) != before


@pytest.mark.parametrize("other", ["train.beta_1=0.5", "train.beta_2=0.5", "train.epsilon=0.1"])
def test_adams_parameters_are_no_part_of_a_training_by_sgd(project, other):
    assert keys("train.optimizer=sgd", other) == keys("train.optimizer=sgd")
    assert keys(other) != keys()


@pytest.mark.parametrize(
    "override",
    [
        *("train.reuse=false", "trajectories.max_gb=1", "tracking=off", "train.decay_factor=0.1"),
        "model.parameters.width=3",  # of an own network, which the write-up's is not
    ],
)
def test_settings_that_change_no_result_are_not_part_of_it(project, override):
    assert keys(override) == keys()
