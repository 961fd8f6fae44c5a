"""Start the command line, with the code of the project that the working directory is in, and in UTF-8."""

import codecs
import locale
import os
import sys
from pathlib import Path

from epochwise import cli
from epochwise.common.errors import InputError
from epochwise.common.paths import find_root

SOURCE_VARIABLE = "EPOCHWISE_SOURCE"  # names the src/ that this process was started again from


def main() -> None:
    _start_again_if_needed()
    cli.main()


def _start_again_if_needed() -> None:
    """Start again with the project's own code, and in Python's UTF-8 mode under a locale of another encoding."""
    changed = _project_code() | _utf8_mode()
    if changed:
        os.execve(sys.executable, [sys.executable, "-m", "epochwise", *sys.argv[1:]], os.environ | changed)


def _project_code() -> dict[str, str]:
    """The environment that makes Python import the project's src/, if this code was installed from another checkout.

    DVC runs an experiment in a copy of the project. The copy's code must run, not that of the main checkout.
    """
    try:
        source = find_root() / "src"
    except InputError:  # no project: the command line says so, or prints help
        return {}
    here = Path(__file__).resolve().parent
    if not (source / "epochwise" / "__main__.py").is_file() or (source / "epochwise").resolve() == here:
        return {}
    if os.environ.get(SOURCE_VARIABLE) == str(source):
        print(f"error: {source}: Python does not import the package from here, but from {here}", file=sys.stderr)
        sys.exit(2)
    path = os.pathsep.join(filter(None, [str(source), os.environ.get("PYTHONPATH")]))
    return {"PYTHONPATH": path, SOURCE_VARIABLE: str(source)}


def _utf8_mode() -> dict[str, str]:
    """The environment in which Python reads and writes files in UTF-8, and what it prints as the terminal does.

    Under a locale such as C or de_DE.ISO-8859-1, libraries would read their own UTF-8 files in another encoding.
    """
    if sys.flags.utf8_mode or os.environ.get("PYTHONUTF8") == "1":
        return {}
    if codecs.lookup(locale.getencoding()).name == "utf-8":
        return {}
    printed = os.environ.get("PYTHONIOENCODING") or f"{getattr(sys.stdout, 'encoding', 'ascii')}:replace"
    return {"PYTHONUTF8": "1", "PYTHONIOENCODING": printed}


if __name__ == "__main__":
    main()
