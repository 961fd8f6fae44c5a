"""Output that is redirected comes back, whatever happens to the file that it was sent to."""

import os
import subprocess
import sys


def test_a_full_disk_under_the_log_leaves_stdout_and_stderr_as_they_were():
    code = """
import sys
from epochwise.common.processes import redirected_output
with open("/dev/full", "ab") as full, redirected_output(full):
    print("not written")
print("out")
print("err", file=sys.stderr)
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "not written\nout\n", "err\n")
