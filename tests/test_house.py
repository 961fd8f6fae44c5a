"""How the house is built: what imports what, what DVC must watch, and what may cost time."""

import ast
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "epochwise"
# Modules whose change leaves results as they are: a new message or tag must not train again.
NOT_DECISIVE = {"__init__", "__main__", "check", "config", "files", "lineage", "overrides", "pipeline", "predict"}
NOT_DECISIVE |= {"project", "reproduce", "rundir", "running", "states", "sweep", "tracking", "trajectory"}
NOT_DECISIVE |= {
    "charts",
    "conductor",
    "leaderboard",
    "live",
    "locks",
    "photos",
    "plan",
    "promote",
    "publish",
    "sweep_view",
    "sweepdir",
}
NOT_DECISIVE |= {"release", "view", "worker"}


def imports(module: str) -> set[str]:
    """Names imported anywhere in a module; of this package as the bare module name."""
    found = set()
    for node in ast.walk(ast.parse((PACKAGE / f"{module}.py").read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "epochwise":
            found |= {alias.name for alias in node.names if (PACKAGE / f"{alias.name}.py").exists()}
        elif isinstance(node, ast.ImportFrom):
            found.add(
                node.module.removeprefix("epochwise.")
                if node.module.startswith("epochwise.")
                else node.module.split(".")[0]
            )
    return found


def closure(module: str) -> set[str]:
    """All modules of the package that a module imports, directly or not, through modules that decide results."""
    seen, open_ = set(), {module}
    while open_:
        module = open_.pop()
        seen.add(module)
        inside = {name for name in imports(module) if (PACKAGE / f"{name}.py").exists()}
        open_ |= inside - seen - NOT_DECISIVE
    return seen


def modules() -> list[str]:
    return sorted(path.stem for path in PACKAGE.glob("*.py"))


@pytest.mark.parametrize("stage", ["prepare", "train", "evaluate"])
def test_dvc_watches_all_code_that_decides_a_stage(stage):
    stages = OmegaConf.load(ROOT / "dvc.yaml").stages
    watched = {Path(dep).stem for dep in stages[stage].deps if dep.startswith("src/")}
    assert closure(stage) <= watched


def test_mlflow_is_imported_in_one_module():
    assert [module for module in modules() if "mlflow" in imports(module)] == ["tracking"]


def test_tensorflow_is_imported_where_tensors_are():
    assert [module for module in modules() if imports(module) & {"tensorflow", "keras"}] == ["backend", "release"]
    assert [module for module in modules() if "backend" in imports(module)] == ["evaluate", "model", "train"]


@pytest.mark.parametrize(
    "command", [["--help"], ["check"], ["prepare"], ["run", "--cfg", "job"], ["run", "train.epochs=0"]]
)
def test_what_needs_neither_tensorflow_nor_mlflow_pays_for_neither(project, command):
    code = "import sys; sys.argv[1:] = sys.argv[2:]; from epochwise.__main__ import main\n"
    code += "try:\n    main()\nexcept SystemExit:\n    pass\n"
    code += "print([name for name in ('tensorflow', 'keras', 'mlflow') if name in sys.modules], end='')"
    done = project.run(sys.executable, "-c", code, "-", *command, PYTHONPATH=str(project.path / "src"))
    assert done.stdout.endswith("[]"), done.stdout + done.stderr


def test_training_code_of_the_fingerprint_is_what_dvc_watches():
    from epochwise.trajectory.identity import TRAINING_CODE

    watched = {Path(dep).name for dep in OmegaConf.load(ROOT / "dvc.yaml").stages.train.deps if dep.startswith("src/")}
    assert set(TRAINING_CODE) == watched


def test_lock_names_no_index_and_pins_every_dependency_with_hashes():
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock and "--index" not in lock
    requirements = [line for line in lock.splitlines() if line and not line.startswith((" ", "#"))]
    assert all("==" in line for line in requirements)
    assert lock.count("--hash=sha256:") >= len(requirements)
