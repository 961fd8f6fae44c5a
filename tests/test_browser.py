"""Pages as a browser shows them: DVC's plots without a network, and the run in MLflow behind the printed link."""

import re
import shutil
import socket
import subprocess
import time
import urllib.request
from contextlib import contextmanager

import pytest
from conftest import clean_environment

pytestmark = pytest.mark.slow
QUIET = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
QUIET += " --disable-component-update --disable-sync --window-size=1600,3000 --virtual-time-budget=60000"


def rendered(url: str, profile, *options: str) -> str:
    """The document that headless Chromium has made of `url` once its scripts have run."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    assert browser, "this test needs Chromium (apt-get install chromium)"
    command = [browser, *QUIET.split(), *options, f"--user-data-dir={profile}", "--dump-dom", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=180).stdout


def assert_shown(url: str, profile, wanted: tuple[str, ...]) -> str:
    """The document at `url` once it shows all that is wanted: looked at again while the page still loads its data."""
    for _ in range(8):
        document = rendered(url, profile)
        missing = [text for text in wanted if text not in document]
        if not missing:
            return document
    raise AssertionError(f"{url} does not show {missing}")


def test_plots_are_drawn_without_a_network(reproduced, tmp_path):
    reproduced.ok("dvc", "plots", "show")
    no_network = "--host-resolver-rules=MAP * ~NOTFOUND"
    page = (reproduced.path / "dvc_plots/index.html").as_uri()
    document = rendered(page, tmp_path, no_network)
    drawn = document.count("<canvas") + document.count('<svg class="marks"')
    assert drawn == 3, "accuracy, loss and the confusion matrix"
    assert len(re.findall(r'<img [^>]*src="static/', document)) == 4


@contextmanager
def served(project):
    """`make ui` on a free port; yields what makes a printed link lead there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    recipe = project.ok("make", "--dry-run", "ui").replace("\\\n", " ").strip().splitlines()[-1]
    server = subprocess.Popen(
        f"exec env {recipe.replace('--port 5000', f'--port {port}')}",
        shell=True,
        cwd=project.path,
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}/health")
        yield lambda link: link.replace(":5000", f":{port}")
    finally:
        server.terminate()
        server.wait(timeout=30)


def test_printed_link_shows_the_run_and_its_curves(reproduced, tmp_path):
    with served(reproduced) as here:
        link = here(re.search(r"run (http\S+)", reproduced.said).group(1))
        shown = ("baseline", "best_val_accuracy", "test_accuracy", "train.epochs", "digits")
        assert_shown(link, tmp_path, shown)
        curves = tuple(f">{metric}<" for metric in ("accuracy", "loss", "val_accuracy", "val_loss"))
        document = assert_shown(link.replace("?", "/model-metrics?"), tmp_path, (*curves, 'class="js-line"'))
        assert document.count('class="js-line"') >= 4, "metrics by epoch are drawn as lines"


def test_a_sweeps_links_show_its_table_its_curves_and_its_comparison(project, tmp_path):
    said = project.ok("epochwise", "run", "-m", "train.epochs=1,2", "model.dense_dropout=0.25,0.5")
    names = tuple(f"epochs={epochs} dense_dropout={dropout}" for epochs in (1, 2) for dropout in (0.25, 0.5))
    with served(project) as here:
        table, curves = (
            here(re.search(rf"^{what} (http\S+)$", said, re.MULTILINE).group(1)) for what in ("runs", "curves")
        )
        columns = (
            "train.epochs",
            "model.dense_dropout",
            "val_accuracy",
            "best_val_accuracy",
            "best_epoch",
            "test_accuracy",
        )
        document = assert_shown(table, tmp_path, (*names, *columns, "epochs_reused", "Sort"))
        cells = re.findall(r'aria-colindex="(\d+)" col-id="(?:params|metrics)\.`([^`]+)`"', document)
        assert [column for _, column in sorted(cells, key=lambda cell: int(cell[0]))][: len(columns)] == list(columns)

        document = assert_shown(
            curves, tmp_path, ("val_accuracy", "val_loss", "Parallel Coordinates", 'class="js-line"')
        )
        assert document.count('class="js-line"') >= 8, "a curve of each of the four runs in both charts"
        assert document.index(">Sweep") < document.index(">Model metrics")

        note = _summary(project).data.tags["mlflow.note.content"]
        comparison = here(re.search(r"\[comparison\]\((http[^)]+)\)", note).group(1))
        assert_shown(comparison, tmp_path, ("Comparing 4 Runs", *names, "val_accuracy", "Parallel Coordinates"))


def _summary(project):
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{project.path}/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("epochwise-sweeps").experiment_id])
    return run


def _wait_for(url: str) -> None:
    for _ in range(120):
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(1)
    raise AssertionError(f"{url} did not answer")
