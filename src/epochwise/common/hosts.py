"""Which host this process runs on, for folders that several hosts share."""

import functools
import re
import socket
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
LONGEST_NAME = 32  # characters of a host's name in the name of a file


def host_name() -> str:
    """The name of this host, or of the container, as people know it."""
    return socket.gethostname()


@functools.cache
def kernel() -> str:
    """The id of the kernel that this process runs on; only processes on the same kernel can see whether one lives.

    All containers of a host have one kernel and see each other's locks, whatever their names are. Another host may have
    the same name. Where Linux does not say which kernel it is, the host's name stands for it.
    """
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return host_name()


def name_in_files() -> str:
    """The host's name as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9-]", "-", host_name())[:LONGEST_NAME]
