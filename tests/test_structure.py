"""How the code is built: which room imports which, what DVC watches, what a command imports, and what is documented."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import grimp
import pytest
from omegaconf import OmegaConf

from epochwise.trajectory.identity import training_code

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "epochwise"
MODULES = sorted(PACKAGE.rglob("*.py"))
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
SHORT = 8  # lines that a public function may have without a docstring, if its name and its types say all


# Which room imports which


def lint_imports(folder: Path) -> subprocess.CompletedProcess:
    """Check the contracts of `folder`'s pyproject.toml for the code in its src/."""
    command = [Path(sys.executable).parent / "lint-imports", "--no-logo", "--no-cache"]
    environment = os.environ | {"PYTHONPATH": str(folder / "src")}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_imports_go_down_the_list_of_rooms():
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout


def test_a_planted_upward_import_is_found_and_named(tmp_path):
    shutil.copytree(ROOT / "src", tmp_path / "src")
    shutil.copy2(ROOT / "pyproject.toml", tmp_path)
    planted = {
        "training/loop.py": "import epochwise.tracking.server\n",
        "common/files.py": "def later():\n    from epochwise.runs import record\n",
        "runs/lineage.py": "import mlflow.tracking\n",
        "pipeline/stages.py": "def later():\n    from tensorflow import constant\n    import keras\n",
    }
    for name, code in planted.items():
        with open(tmp_path / "src" / "epochwise" / name, "a") as module:
            module.write(code)
    done = lint_imports(tmp_path)
    assert done.returncode
    for imported in (
        "epochwise.training.loop -> epochwise.tracking.server",
        "epochwise.common.files -> epochwise.runs.record",
        "epochwise.runs.lineage -> mlflow",
        "epochwise.pipeline.stages -> tensorflow",
        "epochwise.pipeline.stages -> keras",
    ):
        assert imported in done.stdout, done.stdout


def test_a_module_outside_the_list_of_rooms_is_refused(tmp_path):
    shutil.copytree(ROOT / "src", tmp_path / "src")
    shutil.copy2(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "src" / "epochwise" / "attic.py").touch()
    done = lint_imports(tmp_path)
    assert done.returncode and "epochwise.attic" in done.stdout, done.stdout


# What decides a result


def needed_by(room: str) -> set[str]:
    """The modules of other rooms that a room imports, directly or not, as paths in the package."""
    graph = grimp.build_graph("epochwise", cache_dir=None)
    modules = graph.find_upstream_modules(f"epochwise.{room}", as_package=True)
    return {module.removeprefix("epochwise.").replace(".", "/") + ".py" for module in modules}


def watched(stage: str) -> set[str]:
    """The code that dvc.yaml names for a stage, as paths in the package."""
    dependencies = OmegaConf.load(ROOT / "dvc.yaml").stages[stage].deps
    return {name.removeprefix("src/epochwise/") for name in dependencies if name.startswith("src/epochwise/")}


def test_dvc_watches_for_a_training_what_its_fingerprint_covers():
    ends = "trajectory/ending.py"  # in a fingerprint, patience stands for itself
    assert watched("train") == {"training", "data/prepared.py", ends}
    in_room = {path.relative_to(PACKAGE).as_posix() for path in (PACKAGE / "training").rglob("*.py")}
    assert set(training_code()) == in_room | {"data/prepared.py"}


@pytest.mark.parametrize(("room", "stage"), [("data", "prepare"), ("training", "train"), ("evaluation", "evaluate")])
def test_all_code_that_decides_the_result_of_a_stage_is_watched_by_dvc(room, stage):
    assert room in watched(stage)
    decides_nothing = {"common/"} | ({"runs/"} if stage == "evaluate" else set())  # names and reads files
    unwatched = {name for name in needed_by(room) if not name.startswith((*watched(stage), *decides_nothing))}
    assert not unwatched


# What a command imports


def test_what_needs_neither_tensorflow_nor_mlflow_imports_neither(project):
    """TensorFlow takes about 3 CPU-seconds to import and MLflow about 4, which help and refusals must not cost."""
    commands = ["", "--version", "check", "prepare", "prepare train.epochs=0", "run --cfg job", "run train.epochs=0"]
    commands += ["compare", "run -m train.epochs=1,0", "predict nowhere.png", "predict --random 0"]
    commands += [f"{name} --help" for name in ("run", "compare", "predict", "promote", "publish", "reproduce", "train")]
    code = """if True:
        import json, sys
        from epochwise import cli

        costly, imported = {"tensorflow", "keras", "mlflow"}, {}
        for command in json.loads(sys.argv[1]):
            sys.argv[1:] = command.split()
            before = costly & set(sys.modules)
            try:
                cli.main()
            except SystemExit:
                pass
            imported[command] = sorted(costly & set(sys.modules) - before)
        print(json.dumps(imported))
    """
    done = project.run(sys.executable, "-c", code, json.dumps(commands), PYTHONPATH=str(project.path / "src"))
    assert done.returncode == 0, done.stdout + done.stderr
    imported = json.loads(done.stdout.splitlines()[-1])
    assert imported == {command: [] for command in commands}


# What is written down


def test_lock_names_no_index_and_pins_every_dependency_with_hashes():
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock and "--index" not in lock
    requirements = re.split(r"\n(?=[a-z])", lock.strip())
    assert len(requirements) > 100
    for requirement in requirements:
        assert re.match(r"[\w.-]+==\S+ ", requirement) and "--hash=sha256:" in requirement, requirement


def test_every_direct_dependency_says_why_it_is_there():
    section = (ROOT / "pyproject.toml").read_text().partition("dependencies = [")[2].partition("[project.scripts]")[0]
    dependencies = [line for line in section.splitlines() if line.startswith('    "')]
    assert len(dependencies) > 15 and all(re.search(r'",\s+# \w', line) for line in dependencies)


@pytest.mark.parametrize("room", ROOMS)
def test_init_of_a_room_only_says_what_comes_in_what_goes_out_and_where_else_to_look(room):
    (docstring,) = ast.parse((PACKAGE / room / "__init__.py").read_text()).body
    text = docstring.value.value
    if room != "common":  # every room uses it, and it leads to none
        assert re.search(r"\bIn: ", text) and re.search(r"\bOut: ", text)
        assert set(re.findall(r"`(\w+)/", text)) & set(ROOMS) - {room}


def test_rooms_and_files_that_are_named_in_docstrings_exist():
    missing = {
        f"{path.relative_to(PACKAGE)}: {name}"
        for path in MODULES
        for name in re.findall(rf"`((?:{'|'.join(ROOMS)})/[\w/]*(?:\.py)?)`", path.read_text())
        if not (PACKAGE / name).exists()
    }
    assert not missing


def test_modules_public_classes_and_all_but_short_public_functions_have_a_docstring():
    lacking = []
    for path in MODULES:
        module = ast.parse(path.read_text())
        definitions = [node for node in module.body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
        classes = [node for node in definitions if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
        definitions += [node for owner in classes for node in owner.body if isinstance(node, ast.FunctionDef)]
        for node in [module, *definitions]:
            name = getattr(node, "name", "")
            short = isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno < SHORT
            if not name.startswith("_") and not short and not ast.get_docstring(node):
                lacking.append(f"{path.relative_to(PACKAGE)}: {name or 'the module'}")
    assert not lacking
