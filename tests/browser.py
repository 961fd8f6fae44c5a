"""A page as headless Chromium shows it, and a Chromium that is clicked through."""

import functools
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver

OPTIONS = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
OPTIONS += " --disable-component-update --disable-sync --window-size=1600,3000 --virtual-time-budget=60000"
NO_NETWORK = "--host-resolver-rules=MAP * ~NOTFOUND"


def rendered(url: str, profile: Path, *options: str) -> str:
    """The document that headless Chromium has made of a page once its scripts have run."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    assert browser, "this test needs Chromium (apt-get install chromium)"
    command = [browser, *OPTIONS.split(), *options, f"--user-data-dir={profile}", "--dump-dom", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=180).stdout


@contextmanager
def driven(profile: Path, width: int = 1600, dark: bool = False) -> Iterator[webdriver.Chrome]:
    """A headless Chromium to click through pages, with a window of this width in pixels."""
    browser, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    assert browser and driver, "this test needs Chromium and its driver (apt-get install chromium chromium-driver)"
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for option in (*OPTIONS.split()[:6], f"--user-data-dir={profile}"):
        options.add_argument(option)
    chrome = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
        size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
        chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        yield chrome
    finally:
        chrome.quit()


def violations(chrome: webdriver.Chrome) -> list[str]:
    """What axe-core finds wrong with the accessibility of the page that is open."""
    chrome.execute_script(_axe())
    found = chrome.execute_async_script(
        "const done = arguments[0]; axe.run().then((result) => done(result.violations))"
    )
    return [f"{rule['id']}: {json.dumps([node['target'] for node in rule['nodes']])}" for rule in found]


@functools.cache
def _axe() -> str:
    """axe-core's script, from npm."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", "axe-core@4.10.3"], cwd=folder, check=True, capture_output=True)
        with tarfile.open(Path(folder) / "axe-core-4.10.3.tgz") as package:
            file = package.extractfile("package/axe.min.js")
            assert file
            return file.read().decode()
