"""Pages as Chromium shows them: DVC's plots without a network, and MLflow's pages behind the links that are printed."""

import re
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from browser import NO_NETWORK, driven, rendered
from conftest import Project, clean_environment, wait_for
from mlflow_runs import client
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

pytestmark = pytest.mark.slow

LOADS = 8  # of a page, at most, until it shows what it should


def assert_shown(url: str, profile: Path, wanted: tuple[str, ...]) -> str:
    """The document of a page that shows all of `wanted`. It is loaded again while its data is still on the way."""
    for _ in range(LOADS):
        document = rendered(url, profile)
        missing = [text for text in wanted if text not in document]
        if not missing:
            return document
    raise AssertionError(f"{url} does not show {missing}")


@contextmanager
def served(project: Project) -> Iterator[Callable[[str], str]]:
    """`epochwise ui` on a free port. Yields a function that makes a printed link lead there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["epochwise", "ui", "--port", str(port)]
    server = subprocess.Popen(
        command,
        cwd=project.path,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts background jobs, and so what runs in them, with Ctrl-C ignored; a user's terminal does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        wait_for(lambda: _answers(f"http://127.0.0.1:{port}/health"))
        yield lambda link: link.replace(":5000", f":{port}")
    finally:
        time.sleep(1)  # until the links are printed, too
        server.send_signal(signal.SIGINT)
        printed, errors = server.communicate(timeout=30)
    assert (server.returncode, errors) == (0, ""), "Ctrl-C ends it quietly"
    assert re.search(rf"^runs   http://127.0.0.1:{port}/#/experiments/1/runs\?workflowType", printed, re.MULTILINE)


def test_plots_are_drawn_without_a_network(reproduced, tmp_path):
    reproduced.ok("dvc", "plots", "show")
    document = rendered((reproduced.path / "dvc_plots/index.html").as_uri(), tmp_path, NO_NETWORK)
    drawn = document.count("<canvas") + document.count('<svg class="marks"')
    assert drawn == 4, "accuracy, loss, the confusion matrix and F1 by class"
    assert len(re.findall(r'<img [^>]*src="static/', document)) == 4


def test_the_printed_link_shows_the_run_and_its_curves(reproduced, tmp_path):
    with served(reproduced) as here:
        link = here(re.search(r"run (http\S+)", reproduced.printed).group(1))
        assert_shown(link, tmp_path, ("baseline", "best_val_accuracy", "test_accuracy", "train.epochs", "digits"))
        curves = tuple(f">{metric}<" for metric in ("accuracy", "loss", "val_accuracy", "val_loss"))
        document = assert_shown(link.replace("?", "/model-metrics?"), tmp_path, (*curves, 'class="js-line"'))
        assert document.count('class="js-line"') >= 4, "metrics by epoch are drawn as lines"


def test_the_front_page_leads_to_the_runs_in_two_clicks(reproduced, tmp_path):
    with served(reproduced) as here, driven(tmp_path) as chrome:
        chrome.get(here("http://127.0.0.1:5000/"))
        for label in ("Model training", "epochwise"):
            WebDriverWait(chrome, 60).until(lambda page, text=label: _clicked(page, text))
        WebDriverWait(chrome, 60).until(lambda page: "baseline" in page.page_source and "/runs" in page.current_url)


def _clicked(page, text: str) -> bool:
    """Whether what is labelled so was there and could be clicked."""
    for found in page.find_elements(By.XPATH, f"//*[normalize-space(text())='{text}']"):
        if found.is_displayed():
            found.click()
            return True
    return False


def test_a_sweeps_links_show_its_table_its_curves_and_its_comparison(project, tmp_path):
    output = project.ok("epochwise", "run", "-m", "train.epochs=1,2", "model.dense_dropout=0.25,0.5")
    names = tuple(f"epochs={epochs} dense_dropout={dropout}" for epochs in (1, 2) for dropout in (0.25, 0.5))
    columns = ["train.epochs", "model.dense_dropout"]
    columns += ["val_accuracy", "best_val_accuracy", "best_epoch", "test_accuracy"]
    with served(project) as here:
        table, curves = (
            here(re.search(rf"^{title} (http\S+)", output, re.MULTILINE).group(1)) for title in ("runs", "curves")
        )
        document = assert_shown(table, tmp_path, (*names, *columns, "epochs_reused", "Sort"))
        cells = re.findall(r'aria-colindex="(\d+)" col-id="(?:params|metrics)\.`([^`]+)`"', document)
        shown = [column for _, column in sorted(cells, key=lambda cell: int(cell[0]))]
        assert shown[: len(columns)] == columns

        wanted = ("val_accuracy", "val_loss", "Parallel Coordinates", 'class="js-line"')
        document = assert_shown(curves, tmp_path, wanted)
        assert document.count('class="js-line"') >= 8, "a curve of each of the four runs in both charts"
        assert document.index(">Sweep") < document.index(">Model metrics")

        note = _summary(project).data.tags["mlflow.note.content"]
        comparison = here(re.search(r"\[comparison\]\((http[^)]+)\)", note).group(1))
        assert_shown(comparison, tmp_path, ("Comparing 4 Runs", *names, "val_accuracy", "Parallel Coordinates"))


def _summary(project: Project):
    mlflow_client = client(project.path)
    (run,) = mlflow_client.search_runs([mlflow_client.get_experiment_by_name("epochwise-sweeps").experiment_id])
    return run


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False
