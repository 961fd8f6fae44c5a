"""What `epochwise check` refuses before DVC removes an output."""

import pytest

from epochwise.common.errors import InputError
from epochwise.config.compose import load
from epochwise.pipeline.checks import check_network_watched, check_project, check_stages, check_yaml_versions
from epochwise.pipeline.own_networks import check_builds
from epochwise.pipeline.stages import train_stage


def test_dvc_watches_every_parameter(project):
    check_stages()
    project.edit("dvc.yaml", "      - model\n", "")
    with pytest.raises(InputError, match="no stage has model.network under params"):
        check_stages()


def test_a_stage_that_watches_an_unknown_key_is_refused(project):
    project.edit("dvc.yaml", "      - model\n", "      - model\n      - network\n")
    with pytest.raises(InputError, match="stage train watches network"):
        check_stages()


def test_numbers_that_hydra_and_dvc_read_otherwise_are_refused(project):
    check_yaml_versions()
    project.edit("params.yaml", "batch_size: 32", "batch_size: 0100")
    with pytest.raises(InputError, match="train.batch_size is 64 to Hydra and 100 to DVC"):
        check_yaml_versions()


def test_an_own_network_that_dvc_does_not_watch_is_refused(project):
    """Else `dvc repro` would find nothing to do after an edit of it."""
    network = "model.network=nets/own.py:build"
    (project.path / "nets").mkdir()
    (project.path / "nets/own.py").write_text("import part\ndef build(image_shape, classes): ...\n")
    (project.path / "nets/part.py").touch()
    for watched, lacking in (("networks", "nets/own.py"), ("nets/own.py", "nets/part.py")):
        project.edit("dvc.yaml", "      - networks\n", f"      - {watched}\n      - networks\n")
        for refusing in (check_network_watched, train_stage):
            with pytest.raises(InputError, match=f"^dvc.yaml: stage train does not watch {lacking}, so an edit of it"):
                refusing(load([network]))
    project.edit("dvc.yaml", "      - networks\n", "      - nets\n")
    check_network_watched(load([network]))


@pytest.mark.slow
def test_networks_are_built_by_another_process_once_each(project):
    """Which may also end with the file."""
    text = "def build(image_shape, classes, width=1):\n    raise ValueError(f'{width} of {image_shape} {classes}')\n"
    (project.path / "networks/own.py").write_text(text)
    (project.path / "networks/end.py").write_text(text.replace("raise ValueError", "import os; os._exit(len") + ")")
    own, end = "model.network=networks/own.py:build", "model.network=networks/end.py:build"
    configs = [load([]), load([own]), load([own, "seed=1"]), load([end]), load([own, "model.parameters.width=2"])]
    failures = check_builds(configs)
    assert failures[0] == ""
    assert failures[1] == failures[2] == "networks/own.py:2: ValueError: 1 of (8, 8, 1) 10"
    assert failures[3].startswith("networks/end.py:build: its process ended with exit code")
    assert failures[4] == "networks/own.py:2: ValueError: 2 of (8, 8, 1) 10"


@pytest.mark.slow
def test_check_builds_an_own_network(project):
    (project.path / "networks/own.py").write_text("def build(image_shape, classes): ...\n")
    with pytest.raises(InputError, match="networks/own.py:build must return a Keras model, it returned NoneType"):
        check_project(load(["model.network=networks/own.py:build"]))
    check_project(load(["model.network=networks/residual.py:build"]))


@pytest.mark.parametrize("content", ["", "stages:", "stages: [", "- 3", "stages: {train: 3}"])
def test_a_broken_dvc_yaml_is_one_line(project, content):
    (project.path / "dvc.yaml").write_text(content)
    with pytest.raises(InputError, match="^dvc.yaml: [^\n]*$"):
        check_stages()


def test_dvc_does_not_compose_params_yaml_itself(project):
    """With hydra.enabled, DVC would overwrite params.yaml."""
    assert "hydra" not in (project.path / ".dvc/config").read_text()
