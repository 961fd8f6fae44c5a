"""An own network's file is read, not executed: its function, its arguments, and the files that it imports."""

import pytest

from epochwise.common.errors import InputError
from epochwise.training.network_source import is_own, read_source

BUILD = "def build(image_shape, classes): ...\n"


@pytest.fixture
def write(tmp_path):
    """Write files of a project, by their names."""

    def files(**contents: str) -> None:
        for name, text in contents.items():
            path = tmp_path / (name.replace("__in__", "/") + ".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return files


def test_which_values_name_an_own_network():
    assert is_own("networks/a.py:build") and not is_own("writeup")


def test_arguments_are_those_beside_what_the_data_decides(write, tmp_path):
    write(own="def build(classes, width, image_shape, depth=2, *, rate, name='x'): ...\n")
    source = read_source("own.py:build", tmp_path)
    assert (source.name, source.files) == ("own.py:build", ("own.py",))
    assert source.arguments == ("width", "depth", "rate", "name")
    assert source.required == ("width", "rate")
    assert not source.takes_any


def test_an_argument_has_the_value_of_its_own_parameter_or_of_the_write_ups(write, tmp_path):
    write(own="def build(image_shape, classes, width, dense_units, depth=2): ...\n", any="def build(**given): ...\n")
    source = read_source("own.py:build", tmp_path)
    shared = {"network": "own.py:build", "dense_units": 128, "kernel_size": 3}
    assert source.given(shared, {"width": 8}) == {"dense_units": 128, "width": 8}
    assert read_source("any.py:build", tmp_path).given(shared, {"width": 8}) == {"width": 8}


@pytest.mark.parametrize(
    ("own", "says"),
    [
        ({}, "own.py:build needs model.parameters.width: write it into params.yaml, or as key=value"),
        (
            {"width": 1, "dense_units": 2},
            "model.parameters.dense_units: own.py:build takes model.dense_units; give that",
        ),
        ({"width": 1, "classes": 2}, "model.parameters.classes: the data decides classes; leave it out"),
        (
            {"with": 1},
            "model.parameters.with: own.py:build has no argument with; beside image_shape and classes it has w",
        ),
    ],
)
def test_parameters_that_do_not_fit_the_function_are_refused(write, tmp_path, own, says):
    write(own="def build(image_shape, classes, width, dense_units): ...\n")
    with pytest.raises(InputError) as refused:
        read_source("own.py:build", tmp_path).given({"dense_units": 128}, own)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def build(:\n", "own.py:1: invalid syntax"),
        ("x = 1\n\ndef build(image_shape, classes):\nreturn 1\n", "own.py:4: expected an indented block"),
        ("x = '\0'\n", "own.py"),
        (b"\xff\xfe bad".decode("latin-1"), "own.py:1: "),
        ("def make(image_shape, classes): ...\n", "own.py has no `def build` at its top level; it has make"),
        ("build = lambda image_shape, classes: 1\n", "own.py has no `def build` at its top level"),
        ("async def build(image_shape, classes): ...\n", "own.py has no `def build` at its top level"),
        ("class build: ...\n", "own.py has no `def build` at its top level"),
        ("def build(image_shape): ...\n", "own.py:1: build must take classes: def build(image_shape, classes, …)"),
        ("\ndef build(x, n): ...\n", "own.py:2: build must take image_shape and classes"),
        (
            "def build(image_shape, classes, /): ...\n",
            "own.py:1: build must take its arguments by name; leave out the /",
        ),
    ],
)
def test_a_file_without_such_a_function_is_refused(write, tmp_path, text, says):
    write(own=text)
    with pytest.raises(InputError) as refused:
        read_source("own.py:build", tmp_path)
    assert says in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["nowhere.py:build", "networks:build.py:build"])
def test_a_file_that_is_not_there_is_named(tmp_path, name):
    (tmp_path / "networks").mkdir()
    with pytest.raises(InputError, match=f"no file {name.rpartition(':')[0]} in"):
        read_source(name, tmp_path)


def test_a_file_outside_the_project_is_refused(write, tmp_path):
    write(own=BUILD)
    (tmp_path / "project").mkdir()
    (tmp_path / "project/link.py").symlink_to(tmp_path / "own.py")
    for name in ("../own.py", str(tmp_path / "own.py"), "link.py"):
        with pytest.raises(InputError, match="is not in the project, where git and DVC would find it"):
            read_source(f"{name}:build", tmp_path / "project")


def test_all_files_of_the_project_that_it_imports_are_found(write, tmp_path):
    write(
        nets__in__own=(
            "import os, numpy as np\nimport beside\nfrom package import inner\nimport package.deep.leaf as leaf\n"
            f"from nets.absolute import thing\n{BUILD}    from late import x\n"
        ).replace("...\n    from", "\n    from"),
        nets__in__beside="from indirect import y\n",
        nets__in__indirect="import beside\n",
        nets__in__late="",
        nets__in__absolute="",
        nets__in__package__in____init__="from . import sibling\nfrom .other import z\n",
        nets__in__package__in__inner="",
        nets__in__package__in__sibling="",
        nets__in__package__in__other="",
        nets__in__package__in__deep__in__leaf="from ..cousin import w\n",
        nets__in__package__in__cousin="",
        nets__in__unused="",
        numpy="",
    )
    files = read_source("nets/own.py:build", tmp_path).files
    assert files[0] == "nets/own.py"
    assert set(files[1:]) == {
        *(f"nets/{name}.py" for name in ("beside", "indirect", "late", "absolute")),
        *(f"nets/package/{name}.py" for name in ("__init__", "inner", "sibling", "other", "deep/leaf", "cousin")),
        "numpy.py",  # which Python might import instead of the library
    }


def test_a_helper_that_is_no_python_is_named(write, tmp_path):
    write(own=f"import helper\n{BUILD}", helper="def (\n")
    with pytest.raises(InputError, match="^helper.py:1: invalid syntax$"):
        read_source("own.py:build", tmp_path)
