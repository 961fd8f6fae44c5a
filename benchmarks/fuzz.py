"""The readers of IDX, npz and CSV under a coverage-guided fuzzer: whatever the bytes, images or InputError.

    pip install atheris; python benchmarks/fuzz.py [-max_total_time=300] [CORPUS …]

Takes libFuzzer's options. A first byte chooses the reader; anything else than InputError that is raised ends it.
"""

import contextlib
import io
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["epochwise", "zipfile", "gzip", "numpy.lib"]):
    import numpy as np

    from epochwise.common.errors import InputError
    from epochwise.data.idx import read_idx
    from epochwise.data.images import ReadOptions
    from epochwise.data.sources import load_source

FOLDER = Path(tempfile.mkdtemp())


def read_whole(path: Path) -> None:
    load_source(str(path), FOLDER, ReadOptions(test_size=2))


READERS = (("f.idx", read_idx), ("f.gz", read_idx), ("f.npz", read_whole), ("f.csv", read_whole))


def one_input(content: bytes) -> None:
    name, read = READERS[content[0] % len(READERS)] if content else READERS[0]
    path = FOLDER / name
    path.write_bytes(content[1:])
    with contextlib.suppress(InputError):
        read(path)


def seeds(folder: Path) -> None:
    """Sound files to begin with."""
    import gzip
    import struct

    image = np.arange(36).reshape(4, 3, 3).astype(np.uint8) * 7
    idx = struct.pack(">HBB3I", 0, 8, 3, *image.shape) + image.tobytes()
    npz = io.BytesIO()
    labels = np.arange(4) % 2
    np.savez_compressed(npz, x_train=image, y_train=labels)
    csv = "\n".join(",".join(map(str, row)) for row in np.column_stack([labels, image.reshape(4, 9)])).encode()
    for number, content in enumerate((idx, gzip.compress(idx), npz.getvalue(), csv)):
        (folder / str(number)).write_bytes(bytes([number]) + content)


if __name__ == "__main__":
    corpus = FOLDER / "corpus"
    corpus.mkdir()
    seeds(corpus)
    atheris.Setup([*sys.argv, "-print_final_stats=1", "-rss_limit_mb=6000", str(corpus)], one_input)
    atheris.Fuzz()
