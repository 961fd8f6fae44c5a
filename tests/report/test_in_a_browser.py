"""The report in headless Chromium: its script sorts, unfolds and compares, without a network."""

import json
import re
from pathlib import Path

import pytest
from browser import NO_NETWORK, driven, rendered, violations
from made_sweeps import bare_project  # noqa: F401
from test_report import grid_sweep, page_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("bare_project")]

REPORT_ERRORS = (
    "<script>window.failures = []; addEventListener('error', (event) => failures.push(event.message));</script>"
)
USE_THE_PAGE = """<script>
const $ = (selector) => document.querySelector(selector), all = (selector) => [...document.querySelectorAll(selector)];
const first = () => $("#settings").tBodies[0].rows[0].cells[2].dataset.value;
const seen = {};
seen.best = first();
const head = all("#settings thead button").find((button) => button.textContent === "dense_dropout");
head.click(); seen.ascending = first();
head.click(); seen.descending = first();
seen.sorted = head.parentElement.getAttribute("aria-sort");
seen.hidden = $("#runs-1").hidden;
all(".unfold").find((button) => button.getAttribute("aria-controls") === "runs-1").click();
seen.unfolded = !$("#runs-1").hidden;
seen.differences = $("#difference").textContent;
$("#run-B").value = "0";
$("#choice").dispatchEvent(new Event("change"));
seen.same = $("#difference").textContent;
seen.counts = $("#side-A table").rows[1].cells[1].textContent;
$("input[value=rates]").click();
seen.rates = $("#side-A table").rows[1].cells[1].textContent;
seen.images = all("#side-A img").length;
seen.wide = document.documentElement.scrollWidth > innerWidth;
seen.failures = failures;
document.body.dataset.seen = JSON.stringify(seen);
</script>"""


CUT_OFF = """
return [...document.querySelectorAll("svg text")].filter((text) => {
  const box = text.getBBox(), frame = text.ownerSVGElement.viewBox.baseVal;
  return box.x < 0 || box.y < 0 || box.x + box.width > frame.width || box.y + box.height > frame.height;
}).map((text) => text.textContent);
"""  # the labels of charts that do not fit into them


def used(page: str, folder: Path, width: int) -> dict:
    """What the page looks like while it is used at this width."""
    file = folder / "used.html"
    file.write_text(page.replace("<head>", f"<head>{REPORT_ERRORS}").replace("</body>", f"{USE_THE_PAGE}</body>"))
    document = rendered(file.as_uri(), folder / "profile", NO_NETWORK, f"--window-size={width},900")
    seen = re.search(r'data-seen="([^"]*)"', document)
    assert seen, "the script of the page did not end"
    return json.loads(seen.group(1).replace("&quot;", '"').replace("&amp;", "&"))


def test_it_sorts_unfolds_and_compares(tmp_path):
    page = page_of(tmp_path, grid_sweep(tmp_path, [2, 4], [0.25, 0.5], [0, 1]))
    seen = used(page, tmp_path, 1600)
    assert seen["failures"] == []
    assert (seen["best"], seen["ascending"], seen["descending"]) == ("0.5", "0.25", "0.5")
    assert seen["sorted"] == "descending"
    assert seen["hidden"] and seen["unfolded"]
    assert "train.epochs42" in seen["differences"] and "only A right90" in seen["differences"]
    assert "A and B have the same parameters." in seen["same"] and "both wrong90" in seen["same"]
    assert int(seen["counts"]) > 900 and 98 < float(seen["rates"]) < 100
    assert seen["images"] == 24
    assert not seen["wide"]


def test_it_fits_a_narrow_window(tmp_path):
    page = page_of(tmp_path, grid_sweep(tmp_path, [2, 4], [0.25, 0.5], [0]))
    assert not used(page, tmp_path, 500)["wide"]  # the narrowest window that headless Chromium opens


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_wrong(tmp_path, dark):
    sweep = grid_sweep(tmp_path, [2, 4], [0.25, 0.5], [0, 1])
    page_of(tmp_path, sweep)
    for width in (390, 1600):
        with driven(tmp_path / f"profile {width}", width, dark) as chrome:
            chrome.get((sweep.folder / "report.html").as_uri())
            assert violations(chrome) == []
            assert chrome.execute_script("return document.documentElement.scrollWidth") <= width
            assert chrome.get_log("browser") == []
            assert chrome.execute_script(CUT_OFF) == []
