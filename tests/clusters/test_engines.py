"""What tests with an engine need: `.ci/run` installs it, and elsewhere one line says how."""

import re

import cluster_nodes
import pytest
from cluster_nodes import COMMANDS, MODULES, need
from conftest import ROOT


def test_a_test_without_its_engine_says_in_one_line_what_to_install(monkeypatch):
    monkeypatch.setattr(cluster_nodes, "path_of", lambda command: None)
    monkeypatch.setattr(cluster_nodes, "find_spec", lambda module: None)
    lines = {}
    for engine in COMMANDS | MODULES:
        with pytest.raises(pytest.fail.Exception) as raised:
            need(engine)
        lines[engine] = raised.value.msg
    assert lines["slurm"].endswith(": apt-get install iproute2 munge slurm-client slurmctld slurmd")
    assert lines["postgres"].endswith(": apt-get install iproute2 postgresql; pip install 'epochwise[team]'")
    assert lines["s3"].endswith(": pip install 'epochwise[s3]' 'moto[server]'")
    assert not [line for line in lines.values() if "\n" in line]


def test_ci_runs_one_test_each_and_installs_what_they_need():
    script = (ROOT / ".ci" / "run").read_text()
    assert {package for of in COMMANDS.values() for package in of.values()} <= set(re.findall(r"[a-z0-9-]+", script))
    assert "'epochwise[ray,team]'" in script and "-c .venv/constraints.txt" in script
    for engine in COMMANDS:
        tests = (ROOT / "tests" / "clusters" / f"test_{engine}.py").read_text()
        assert len(re.findall(rf"@pytest\.mark\.slow\ndef test_{engine}_", tests)) == 1
