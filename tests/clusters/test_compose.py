"""compose.yaml is what the tests run by hand."""

import inspect
import re

import cluster_nodes
import yaml
from conftest import ROOT


def test_the_server_of_compose_is_the_one_that_is_tested():
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())
    server = services["services"]["mlflow"]
    tested = inspect.getsource(cluster_nodes.TeamServer)
    options = set(re.findall(r"--[a-z-]+", server["command"]))
    assert options == set(re.findall(r'"(--[a-z-]+)"', tested))
    assert "--app-name basic-auth" in server["command"] and "postgresql+psycopg2://" in server["command"]
    keys = [
        set(re.findall(r"(?m)^(\w+) = ", text)) for text in (cluster_nodes.AUTH, services["configs"]["auth"]["content"])
    ]
    assert keys[0] == keys[1]
    assert server["ports"] == ["127.0.0.1:5000:5000"], "reached from this host only"
    assert "ports" not in services["services"]["database"]


def test_passwords_are_in_no_file_that_git_has():
    given = dict(line.split("=", 1) for line in (ROOT / ".env.example").read_text().splitlines() if "=" in line[:40])
    assert not any(given.values())
    assert "/.env" in (ROOT / ".gitignore").read_text().split()
    used = set(re.findall(r"\$\{(\w+)", (ROOT / "compose.yaml").read_text()))
    assert used <= given.keys()


def test_the_version_of_the_server_is_that_of_the_lock():
    (version,) = re.findall(r"^mlflow==(\S+)", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE)
    for name in ("compose.yaml", "docs/team.md"):
        assert set(re.findall(r"mlflow\[auth\]==([\d.]+)", (ROOT / name).read_text())) == {version}
