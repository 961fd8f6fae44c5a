"""What `epochwise check` refuses before DVC removes an output."""

import pytest

from epochwise.common.errors import InputError
from epochwise.pipeline.checks import check_stages, check_yaml_versions


def test_dvc_watches_every_parameter(project):
    check_stages()
    project.edit("dvc.yaml", "      - model\n", "")
    with pytest.raises(InputError, match="no stage has model.filters under params"):
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


@pytest.mark.parametrize("content", ["", "stages:", "stages: [", "- 3", "stages: {train: 3}"])
def test_a_broken_dvc_yaml_is_one_line(project, content):
    (project.path / "dvc.yaml").write_text(content)
    with pytest.raises(InputError, match="^dvc.yaml: [^\n]*$"):
        check_stages()


def test_dvc_does_not_compose_params_yaml_itself(project):
    """With hydra.enabled, DVC would overwrite params.yaml."""
    assert "hydra" not in (project.path / ".dvc/config").read_text()
