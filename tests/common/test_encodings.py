"""What is printed and read under any locale: no character stops a command."""

import io
import subprocess
import sys

import pytest
from conftest import ROOT, Project, clean_environment

from epochwise.common.processes import print_in_any_encoding

LINE = "3×3 · 0.5 ± 0.1 → … ✓ zwölf Ziffern 数字"
LEGACY = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}  # a locale in which Python reads ASCII


@pytest.mark.parametrize(
    "encoding, shown",
    [
        ("ascii", "3x3 - 0.5 +- 0.1 -> ... v zw?lf Ziffern ??"),
        ("latin-1", "3×3 · 0.5 ± 0.1 -> ... v zwölf Ziffern ??"),
        ("cp1252", "3×3 · 0.5 ± 0.1 -> … v zwölf Ziffern ??"),
        ("utf-8", LINE),
    ],
)
def test_what_a_terminal_cannot_show_is_replaced(monkeypatch, encoding, shown):
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding=encoding) for name in ("stdout", "stderr")}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    print_in_any_encoding()
    for stream in streams.values():
        print(LINE, file=stream, flush=True)
        print("of bytes that are no text: \udce9", file=stream, flush=True)
        assert stream.buffer.getvalue().decode(encoding) == f"{shown}\nof bytes that are no text: ?\n"


CODE = f"""
from epochwise.common.processes import print_in_any_encoding
print_in_any_encoding()
import subprocess, sys
subprocess.run([sys.executable, "-c", "print(chr(215), flush=True)"], check=True)
print({LINE!a})
"""


@pytest.mark.parametrize("environment", [{"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}, LEGACY])
def test_no_encoding_stops_a_process_or_its_children(environment):
    environment = clean_environment() | {"PYTHONPATH": str(ROOT / "src")} | environment
    done = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout[:1] in (b"?", b"\xd7") and b"0.5" in done.stdout


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        LEGACY,
        LEGACY | {"PYTHONIOENCODING": "ascii:strict"},
        {"LANG": "C", "LC_ALL": "POSIX", "PYTHONUTF8": "0"},
    ],
)
def test_help_refusals_and_names_of_files_in_any_locale(project: Project, environment):
    def typed(*command: str) -> subprocess.CompletedProcess:
        options = {"capture_output": True, "encoding": "latin-1", "env": clean_environment() | environment}
        return subprocess.run(["epochwise", *command], cwd=project.path, **options)

    printed = typed("run", "--help")
    assert (printed.returncode, printed.stderr) == (0, "") and "Usage: epochwise run" in printed.stdout
    done = typed("check", "prepare.source='zwölf.npz'")
    assert done.returncode == 2 and done.stderr.startswith("error: prepare.source: no file or folder 'zw")
    assert done.stderr.count("\n") == 1
    project.edit("params.yaml", "seed: 0 ", "seed: 0   # zwölf ×")
    assert typed("check").stdout == "configuration, data and dvc.yaml agree\n"


@pytest.mark.long
@pytest.mark.parametrize("environment", [{"PYTHONIOENCODING": "ascii"}, LEGACY])
def test_a_run_a_sweep_and_its_leaderboard_in_any_locale(project: Project, environment):
    quick = ("train.epochs=1", "model.dense_units=8")
    project.ok("epochwise", "run", *quick, "hydra.run.dir='outputs/zwölf'", **environment)
    project.ok("epochwise", "run", "-m", *quick, "seed=1,2", "tracking=off", **environment)
    assert "ranked by val_accuracy" in project.ok("epochwise", "compare", **environment)
    (log,) = project.path.glob("multirun/*/*/0/run.log")
    assert b"epoch 1/1" in log.read_bytes() and b"Traceback" not in log.read_bytes()
    (folder,) = project.path.glob("outputs/zw*")
    assert folder.name == "zwölf"
