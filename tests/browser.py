"""A page as headless Chromium shows it."""

import shutil
import subprocess
from pathlib import Path

OPTIONS = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
OPTIONS += " --disable-component-update --disable-sync --window-size=1600,3000 --virtual-time-budget=60000"
NO_NETWORK = "--host-resolver-rules=MAP * ~NOTFOUND"


def rendered(url: str, profile: Path, *options: str) -> str:
    """The document that headless Chromium has made of a page once its scripts have run."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    assert browser, "this test needs Chromium (apt-get install chromium)"
    command = [browser, *OPTIONS.split(), *options, f"--user-data-dir={profile}", "--dump-dom", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=180).stdout
