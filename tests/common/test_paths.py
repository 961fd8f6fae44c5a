"""The project is that of the working directory; what outlives a copy lies in the main checkout."""

import pytest

from epochwise.common.errors import InputError
from epochwise.common.paths import find_root, main_root


def test_project_is_that_of_the_working_directory(project, monkeypatch, tmp_path):
    below = project.path / "conf" / "experiment"
    monkeypatch.chdir(below)
    assert find_root() == project.path
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert find_root() == project.path
    assert main_root() == tmp_path
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="no project here"):
        find_root()
