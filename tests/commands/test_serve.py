"""The champion behind `mlflow models serve`, asked with the lines that docs/beyond-one-machine.md gives."""

import json
import os
import re
import signal
import socket
import subprocess

import numpy as np
import pytest
from conftest import ROOT, Project, clean_environment, wait_for
from PIL import Image

from epochwise.common.files import read_json


def documented() -> list[str]:
    """The lines for a shell: serve, read the pixels, ask."""
    page = (ROOT / "docs/beyond-one-machine.md").read_text()
    blocks = re.findall(r"```bash\n(.*?)```", page, flags=re.DOTALL)
    (lines,) = (block.splitlines() for block in blocks if "mlflow models serve" in block)
    return lines


@pytest.mark.slow
def test_raw_pixels_are_answered_with_probabilities(project: Project):
    project.ok("epochwise", "run", "train.epochs=1", "hydra.run.dir=outputs/run")
    run_id = read_json(project.path / "outputs/run/run.json")["run_id"]
    project.ok("epochwise", "promote", run_id)
    (data,) = project.path.glob("data/cache/prepared/*/data.npz")
    with np.load(data) as arrays:
        pixels = np.rint(arrays["x_test"][5, ..., 0] * 255).astype(np.uint8)
    Image.fromarray(pixels).save(project.path / "digit.png")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve, *ask = (line.replace("5001", str(port)).replace("-mnist", "-digits") for line in documented())
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    server = subprocess.Popen(["bash", "-c", serve], cwd=project.path, env=clean_environment(), **quiet)
    try:
        wait_for(lambda: project.run("curl", "-sf", f"http://127.0.0.1:{port}/ping").returncode == 0)
        answer = project.ok("bash", "-c", "\n".join(ask))
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=60)
    (probabilities,) = json.loads(answer)["predictions"]
    rows = (project.path / "outputs/run/confusion_matrix.csv").read_text().splitlines()
    assert int(np.argmax(probabilities)) == int(rows[6].split(",")[1])
    assert sum(probabilities) == pytest.approx(1, abs=1e-4)
