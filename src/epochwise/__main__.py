"""Start the command line, with the code of the project that the working directory is in."""

import os
import sys
from pathlib import Path

from epochwise import cli
from epochwise.common.errors import InputError
from epochwise.common.paths import find_root

SOURCE_VARIABLE = "EPOCHWISE_SOURCE"  # names the src/ that this process was started again from


def main() -> None:
    _use_project_code()
    cli.main()


def _use_project_code() -> None:
    """Start again from the project's src/ if this code was installed from another checkout.

    DVC runs an experiment in a copy of the project. The copy's code must run, not that of the main checkout.
    """
    try:
        source = find_root() / "src"
    except InputError:  # no project: the command line says so, or prints help
        return
    here = Path(__file__).resolve().parent
    if not (source / "epochwise" / "__main__.py").is_file() or (source / "epochwise").resolve() == here:
        return
    if os.environ.get(SOURCE_VARIABLE) == str(source):
        print(f"error: {source}: Python does not import the package from here, but from {here}", file=sys.stderr)
        sys.exit(2)
    path = os.pathsep.join(filter(None, [str(source), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path, SOURCE_VARIABLE: str(source)}
    os.execve(sys.executable, [sys.executable, "-m", "epochwise", *sys.argv[1:]], environment)


if __name__ == "__main__":
    main()
