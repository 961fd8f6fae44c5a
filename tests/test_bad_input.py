"""A corpus of wrong input: each is refused in one line with exit code 2, or is legal and works; nothing is deleted.

Each case makes its input in a project and names the command; its result stands beside it, so the corpus is also the
table of what is promised.
"""

import hashlib
import io
import json
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from conftest import A_RECORD
from PIL import Image

from epochwise.data import sources


class Case(NamedTuple):
    """What is made in a project, the command, and what its one line says; "" if it is legal and ends with 0."""

    name: str
    make: Callable[[Path], None]
    command: tuple[str, ...]
    says: str


class Executed:
    """Unpickled, it leaves a file: the proof that something was executed."""

    def __reduce__(self):
        return os.system, ("touch EXECUTED",)


CHECK = ("epochwise", "check")
OWN = (*CHECK, "prepare.validation_size=0", "prepare.source=own.npz")
IDX = (*CHECK, "prepare.validation_size=0", "prepare.source=idx")
EVALUATE = ("epochwise", "evaluate")
PREDICT = ("epochwise", "predict", "photo.png")
COMPARE = ("epochwise", "compare")
LABELS = np.arange(40, dtype=np.uint8) % 4
GOOD = {
    "x_train": np.zeros((40, 8, 8), np.uint8),
    "y_train": LABELS,
    "x_test": np.zeros((8, 8, 8), np.uint8),
    "y_test": LABELS[:8],
}


def write(name: str, content: bytes | str) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return make


def edit(name: str, old: str, new: str) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        text = (root / name).read_text()
        assert old in text
        (root / name).write_text(text.replace(old, new))

    return make


def both(*makes: Callable[[Path], None]) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        for one in makes:
            one(root)

    return make


def nothing(_: Path) -> None:
    pass


def npz(**different: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.savez(content, **{key: value for key, value in (GOOD | different).items() if value is not None})
    return content.getvalue()


def npz_of(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return content.getvalue()


def npy(shape: tuple[int, ...], dtype: str = "|u1", body: bytes = b"") -> bytes:
    head = repr({"descr": dtype, "fortran_order": False, "shape": shape}).encode()
    head += b" " * (-(len(head) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + body


def array_bytes(values: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, values, allow_pickle=values.dtype == object)
    return content.getvalue()


def members(**different: bytes) -> dict[str, bytes]:
    return {f"{key}.npy": array_bytes(value) for key, value in GOOD.items()} | {
        f"{key}.npy": value for key, value in different.items()
    }


def zip_bomb() -> bytes:
    """An archive that declares five gigabytes; what is really in it are 64 megabytes of zeros."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    size, block = 5 * 2**30, b"\0" * 2**24
    head, crc, packed = npy((size,)), 0, []
    for part in (head, *[block] * 4):
        crc = zlib.crc32(part, crc)
        packed.append(packer.compress(part))
    body = b"".join(packed) + packer.flush()
    name = b"x_train.npy"
    whole = len(head) + size
    zip64 = struct.pack("<HHQQ", 1, 16, whole, len(body))
    local = struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 45, 0, 8, 0, 33, crc, 2**32 - 1, 2**32 - 1, len(name), len(zip64))
    central = struct.pack(
        "<4sHHHHHHIIIHHHHHII",
        *(b"PK\1\2", 45, 45, 0, 8, 0, 33, crc, 2**32 - 1, 2**32 - 1, len(name), len(zip64), 0, 0, 0, 0, 0),
    )
    start = len(local) + len(name) + len(zip64) + len(body)
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1, 1, len(central) + len(name) + len(zip64), start, 0)
    return local + name + zip64 + body + central + name + zip64 + end


def gzip_bomb() -> bytes:
    """A gigabyte of zeros behind a header that declares five images."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [packer.compress(struct.pack(">HBBIII", 0, 8, 3, 5, 8, 8))]
    parts += [packer.compress(b"\0" * 2**24) for _ in range(64)]
    return b"".join(parts) + packer.flush()


def idx(values: np.ndarray) -> bytes:
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.astype(np.uint8).tobytes()


def idx_folder(**different: bytes | None) -> Callable[[Path], None]:
    """The four files, in the order of GOOD, but for those that are different; None leaves one out."""

    def make(root: Path) -> None:
        for part, (key, values) in zip(sources.PARTS, GOOD.items(), strict=True):
            content = different.get(key, idx(values))
            if content is not None:
                write(f"idx/{part}", content)(root)

    return make


def gzipped(content: bytes) -> Callable[[Path], None]:
    return both(idx_folder(x_train=None), write(f"idx/{sources.PARTS[0]}.gz", content))


def png(mode: str = "L", size: tuple[int, int] = (8, 8), **more) -> bytes:
    content = io.BytesIO()
    Image.new(mode, size).save(content, "PNG", **more)
    return content.getvalue()


def big_png() -> bytes:
    """A header that declares 100,000×100,000 pixels, and nothing behind it."""
    head = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", len(head)) + b"IHDR" + head + struct.pack(">I", zlib.crc32(b"IHDR" + head))
    return b"\x89PNG\r\n\x1a\n" + chunk + png()[33:]


def keras_file(**different: bytes | None) -> bytes:
    content = {"config.json": b"{}", "metadata.json": b"{}", "model.weights.h5": b""} | different
    return npz_of({name: value for name, value in content.items() if value is not None})


def prepared(**meta) -> Callable[[Path], None]:
    """Prepared data that does not matter, with a description that may."""
    archive = npz()
    about = {
        "prepare": {"source": "digits", "validation_size": 300, "train_size": 0, "split_seed": 0},
        **{"source": "digits", "image_shape": [8, 8, 1], "classes": 10, "sha256": hashlib.sha256(archive).hexdigest()},
        **dict.fromkeys(("train_images", "validation_images", "test_images"), 1),
    }
    return both(write("data/prepared/data.npz", archive), write("data/prepared/meta.json", json.dumps(about | meta)))


def run_directory(folder: str, **different: bytes | str | None) -> Callable[[Path], None]:
    """A finished run's files, but for those that are different; None leaves one out."""
    files = {
        "config.yaml": CONFIG,
        "history.csv": "epoch,loss,accuracy,val_loss,val_accuracy\n1,1,1,1,1\n2,1,1,1,1\n",
        "model.keras": keras_file(),
        "run.json": json.dumps(A_RECORD),
        "metrics.json": json.dumps(dict.fromkeys(("val_accuracy", "val_loss", "best_epoch", "best_val_accuracy"), 1)),
    }
    named = {name.replace("__", "."): content for name, content in different.items()}
    kept = {name: content for name, content in (files | named).items() if content is not None}
    return both(*(write(f"{folder}/{name}", content) for name, content in kept.items()))


def trained(**different: bytes | str | None) -> Callable[[Path], None]:
    return both(prepared(), run_directory("models", **different))


def in_a_run(name: str, content: bytes | str | None) -> Callable[[Path], None]:
    return run_directory("a run", **{name.replace(".", "__"): content})


def sweep(content: str) -> Callable[[Path], None]:
    return write("multirun/day/time/sweep.json", content)


PUBLISH = ("epochwise", "publish", "a run")
PROMOTE = ("epochwise", "promote", "recorded")
MODEL_HERE = ("epochwise", "predict", "--random", "1", "--model", "a run")
CONFIG = """
seed: 0
prepare: {source: digits, validation_size: 300, train_size: 0, split_seed: 0}
model: {dense_dropout: 0.5}
train: {epochs: 2}
"""
PIECE = "epoch,loss,accuracy,val_loss,val_accuracy\n"

CONFIGURATIONS = [
    Case("an empty params.yaml", write("params.yaml", ""), CHECK, "configuration: lacks seed"),
    Case("params.yaml of NULs", write("params.yaml", b"\0" * 100), CHECK, "params.yaml: not readable"),
    Case("params.yaml in Latin-1", write("params.yaml", b"seed: \xe9"), CHECK, "params.yaml: not readable"),
    Case("params.yaml a list", write("params.yaml", "[1, 2]"), CHECK, "params.yaml: must be a mapping"),
    Case(
        "params.yaml cut off",
        edit("params.yaml", "source: digits ", "source: [digits, "),
        CHECK,
        "params.yaml: not readable",
    ),
    Case("params.yaml with a tab", edit("params.yaml", "seed: 0", "\tseed: 0"), CHECK, "params.yaml: not readable"),
    Case("a key twice", edit("params.yaml", "seed: 0", "seed: 0\nseed: 1"), CHECK, "params.yaml: not readable"),
    Case(
        "a YAML tag", edit("params.yaml", "seed: 0", "seed: !!python/object/apply:os.getpid []"), CHECK, "params.yaml"
    ),
    Case("a YAML that refers to itself", write("params.yaml", "&a [*a]"), CHECK, "params.yaml"),
    Case("an unknown key", edit("params.yaml", "seed: 0", "sed: 0"), CHECK, "unknown key sed; did you mean seed?"),
    Case(
        "NaN as dropout", nothing, (*CHECK, "model.dense_dropout=nan"), "model.dense_dropout must be in [0, 1), got nan"
    ),
    Case("infinite rate", nothing, (*CHECK, "train.learning_rate=inf"), "train.learning_rate must be a number above 0"),
    Case("negative epochs", nothing, (*CHECK, "train.epochs=-1"), "train.epochs must be in 1…"),
    Case("epochs beyond int32", nothing, (*CHECK, "train.epochs=99999999999"), "train.epochs must be in 1…"),
    Case("half an epoch", nothing, (*CHECK, "train.epochs=1.5"), "train.epochs"),
    Case("a word as seed", nothing, (*CHECK, "seed=one"), "seed"),
    Case("a list as seed", nothing, (*CHECK, "seed=[1]"), "seed"),
    Case("three filters", nothing, (*CHECK, "model.filters=[1,2,3]"), "model.filters must be two whole numbers"),
    Case("a kernel larger than the image", nothing, (*CHECK, "model.kernel_size=9"), "model.kernel_size must be"),
    Case("an unknown preset", nothing, (*CHECK, "experiment=nope"), "no preset experiment=nope; there is"),
    Case("a preset outside conf", nothing, (*CHECK, "experiment=../../params"), "command line"),
    Case("an interpolation to nowhere", nothing, (*CHECK, "tracking.experiment=${nope}"), "nope"),
    Case("an environment variable", nothing, (*CHECK, "tracking.experiment=${oc.env:NOT_SET}"), "NOT_SET"),
    Case("a broken conf", write("conf/config.yaml", "defaults: [nope"), CHECK, "configuration"),
    Case(
        "a preset that is a folder",
        lambda root: (root / "conf/experiment/x.yaml").mkdir(),
        (*CHECK, "experiment=x"),
        "configuration",
    ),
    Case("a broken dvc.yaml", write("dvc.yaml", "stages: ["), CHECK, "dvc.yaml: no readable stages"),
    Case("dvc.yaml without stages", write("dvc.yaml", "a: 1"), CHECK, "dvc.yaml: no readable stages"),
    Case(
        "a cut off dvc.lock", write("dvc.lock", "schema: '2.0'\nstages:\n  train: {"), CHECK, "dvc.lock: not readable"
    ),
    Case("dvc.lock of NULs", write("dvc.lock", b"\0\0\0"), CHECK, "dvc.lock: not readable"),
    Case("dvc.lock with a list", write("dvc.lock", "stages: [a]"), CHECK, "dvc.lock: has no stages"),
]
ARCHIVES = [
    Case("a good npz", write("own.npz", npz()), OWN, ""),
    Case(
        "spaces and Unicode in its name",
        write("meine Bilder/zwölf ✓.npz", npz()),
        (*OWN[:3], "prepare.source='meine Bilder/zwölf ✓.npz'"),
        "",
    ),
    Case("labels N×1", write("own.npz", npz(y_train=LABELS[:, None], y_test=LABELS[:8, None])), OWN, ""),
    Case("an empty file", write("own.npz", b""), OWN, "own.npz is not a readable .npz"),
    Case("a cut off npz", write("own.npz", npz()[:-100]), OWN, "own.npz is not a readable .npz"),
    Case(
        "a flipped byte", write("own.npz", npz()[:500] + b"\xff" + npz()[501:]), OWN, "own.npz is not a readable .npz"
    ),
    Case("text", write("own.npz", "x_train: 1"), OWN, "own.npz is not a readable .npz"),
    Case("a single npy", write("own.npz", array_bytes(GOOD["x_train"])), OWN, "own.npz is not a readable .npz"),
    Case("a pickle", write("own.npz", pickle.dumps(Executed())), OWN, "own.npz is not a readable .npz"),
    Case(
        "a pickled object inside",
        write("own.npz", npz(x_train=np.array([Executed()], object))),
        OWN,
        "it holds pickled objects, which are never loaded",
    ),
    Case("a missing array", write("own.npz", npz(y_test=None)), OWN, "lacks y_test"),
    Case("more arrays", write("own.npz", npz(extra=LABELS)), OWN, ""),
    Case("float pixels", write("own.npz", npz(x_train=np.zeros((40, 8, 8)))), OWN, "x_train in"),
    Case(
        "NaN pixels",
        write("own.npz", npz(x_train=np.full((40, 8, 8), np.nan))),
        OWN,
        "pixels and labels are whole numbers",
    ),
    Case("words", write("own.npz", npz(y_train=np.array(["a"] * 40))), OWN, "pixels and labels are whole numbers"),
    Case(
        "complex numbers",
        write("own.npz", npz(x_train=np.zeros((40, 8, 8), complex))),
        OWN,
        "pixels and labels are whole numbers",
    ),
    Case(
        "pixels of 256", write("own.npz", npz(x_train=np.full((40, 8, 8), 256, np.int16))), OWN, "values outside 0…255"
    ),
    Case(
        "negative pixels", write("own.npz", npz(x_train=np.full((40, 8, 8), -1, np.int8))), OWN, "values outside 0…255"
    ),
    Case("flat images", write("own.npz", npz(x_train=np.zeros((40, 64), np.uint8))), OWN, "images are N×H×W"),
    Case(
        "images of no pixels", write("own.npz", npz(x_train=np.zeros((40, 0, 8), np.uint8))), OWN, "give one for each"
    ),
    Case(
        "no images",
        write("own.npz", npz(x_train=np.zeros((0, 8, 8), np.uint8), y_train=LABELS[:0])),
        OWN,
        "give one for each",
    ),
    Case("other sizes for testing", write("own.npz", npz(x_test=np.zeros((8, 9, 9), np.uint8))), OWN, "trains on"),
    Case("fewer labels than images", write("own.npz", npz(y_train=LABELS[:-1])), OWN, "give one for each"),
    Case("one-hot labels", write("own.npz", npz(y_train=np.eye(4, dtype=int)[LABELS])), OWN, "labels N"),
    Case("negative labels", write("own.npz", npz(y_train=LABELS.astype(int) - 1)), OWN, "labels are 0…classes-1"),
    Case("a label left out", write("own.npz", npz(y_train=LABELS * 2)), OWN, "none left out"),
    Case("one class only", write("own.npz", npz(y_train=LABELS * 0)), OWN, "two or more"),
    Case("a test label without training", write("own.npz", npz(y_test=LABELS[:8] + 1)), OWN, "test label 4"),
    Case("a label of 2⁶³", write("own.npz", npz(y_train=np.full(40, 2**63, np.uint64))), OWN, "labels"),
    Case(
        "a shape of terabytes",
        write("own.npz", npz_of(members(x_train=npy((10**6, 10**6))))),
        OWN,
        "own.npz is not a readable .npz",
    ),
    Case(
        "a negative shape",
        write("own.npz", npz_of(members(x_train=npy((-1, 8, 8))))),
        OWN,
        "own.npz is not a readable .npz",
    ),
    Case(
        "a header that is code",
        write("own.npz", npz_of(members(x_train=b"\x93NUMPY\x01\x00\x20\x00__import__('os').system('ls')   \n"))),
        OWN,
        "own.npz is not a readable .npz",
    ),
    Case(
        "a header without end",
        write("own.npz", npz_of(members(x_train=b"\x93NUMPY\x02\x00\xff\xff\xff\x7f{"))),
        OWN,
        "own.npz is not a readable .npz",
    ),
    Case(
        "nested brackets",
        write("own.npz", npz_of(members(x_train=b"\x93NUMPY\x01\x00\x10\x27" + b"(" * 10000))),
        OWN,
        "own.npz is not a readable .npz",
    ),
    Case("a zip bomb", write("own.npz", zip_bomb()), OWN, "unpacks to 5.0 GiB; 4 GiB are the most"),
    Case("names that lead out", write("own.npz", npz_of({"../../x_train.npy": b""})), OWN, "lacks x_train"),
    Case("a folder of that name", lambda root: (root / "own.npz").mkdir(), OWN, "has no train-images-idx3-ubyte"),
    Case("no such file", nothing, OWN, "no file or folder 'own.npz'"),
    Case("a name of 300 characters", nothing, (*OWN[:3], f"prepare.source={'a' * 300}"), "no file or folder"),
    Case("a loop of links", lambda root: (root / "own.npz").symlink_to("own.npz"), OWN, "no file or folder"),
    Case(
        "a link to a good file",
        both(write("there.npz", npz()), lambda root: (root / "own.npz").symlink_to("there.npz")),
        OWN,
        "",
    ),
    Case("a device", nothing, (*OWN[:3], "prepare.source=/dev/zero"), "no file or folder"),
    Case("an unknown user's home", nothing, (*OWN[:3], "prepare.source='~nobody-here/x.npz'"), "no file or folder"),
]
IDX_FILES = [
    Case("a good folder", idx_folder(), IDX, ""),
    Case("a missing file", idx_folder(y_test=None), IDX, "has no t10k-labels-idx1-ubyte"),
    Case("an empty one", idx_folder(x_train=b""), IDX, "not a readable IDX file"),
    Case("a header alone", idx_folder(x_train=b"\0\0\x08\x03\0\0"), IDX, "not a readable IDX file"),
    Case("a cut off one", idx_folder(x_train=idx(GOOD["x_train"])[:-1]), IDX, "truncated or torn"),
    Case("a byte too many", idx_folder(x_train=idx(GOOD["x_train"]) + b"\0"), IDX, "truncated or torn"),
    Case("floats", idx_folder(x_train=b"\0\0\x0d\x03" + b"\0" * 12), IDX, "not an IDX file of unsigned bytes"),
    Case("no dimension", idx_folder(x_train=b"\0\0\x08\0\0"), IDX, "truncated or torn"),
    Case("255 dimensions", idx_folder(x_train=b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"\0"), IDX, "truncated or torn"),
    Case("a declared terabyte", idx_folder(x_train=b"\0\0\x08\x03" + b"\0\1\0\0" * 3), IDX, "4 GiB are the most"),
    Case("labels for images", idx_folder(x_train=idx(LABELS)), IDX, "images are N×H×W"),
    Case("a gzip bomb", gzipped(gzip_bomb()), IDX, "truncated or torn: more bytes"),
    Case("a cut off gzip", gzipped(gzip_bomb()[:200]), IDX, "train-images"),
    Case("no gzip", gzipped(b"plain"), IDX, "not a readable IDX file"),
]
PICTURES = [
    Case("no picture", nothing, PREDICT, "photo.png: not a readable PNG or JPEG"),
    Case("an empty picture", write("photo.png", b""), PREDICT, "photo.png: not a readable PNG or JPEG"),
    Case("a cut off picture", write("photo.png", png(size=(300, 300))[:60]), PREDICT, "photo.png: not a readable PNG"),
    Case("a picture of text", write("photo.png", "no picture"), PREDICT, "photo.png: not a readable PNG or JPEG"),
    Case("10¹⁰ declared pixels", write("photo.png", big_png()), PREDICT, "photo.png"),
    Case(
        "a picture in another format", write("photo.png", b"GIF89a" + b"\0" * 50), PREDICT, "not a readable PNG or JPEG"
    ),
    Case("a good picture, no model", write("photo.png", png()), PREDICT, "models/model.keras: not there; train first"),
    Case(
        "a picture and --random", write("photo.png", png()), (*PREDICT, "--random", "1"), "give pictures, or --random N"
    ),
]
MODELS = [
    Case("an empty model", in_a_run("model.keras", b""), MODEL_HERE, "model.keras: not a readable Keras model"),
    Case("a model of text", in_a_run("model.keras", "x"), MODEL_HERE, "model.keras: not a readable Keras model"),
    Case(
        "a pickle as model", in_a_run("model.keras", pickle.dumps(Executed())), MODEL_HERE, "not a readable Keras model"
    ),
    Case(
        "a model without weights",
        in_a_run("model.keras", keras_file(**{"model.weights.h5": None})),
        MODEL_HERE,
        "it has no model.weights.h5",
    ),
    Case("a cut off model", in_a_run("model.keras", keras_file()[:-30]), MODEL_HERE, "not a readable Keras model"),
    Case(
        "a model that is a folder",
        lambda root: (root / "a run/model.keras").mkdir(parents=True),
        MODEL_HERE,
        "train first",
    ),
    Case(
        "no such run",
        nothing,
        ("epochwise", "predict", "--random", "1", "--model", "nope"),
        "no run with a model here or in MLflow",
    ),
]
RUN_DIRECTORIES = [
    Case("meta.json cut off", write("data/prepared/meta.json", "{"), EVALUATE, "meta.json: not readable"),
    Case("meta.json a list", write("data/prepared/meta.json", "[]"), EVALUATE, "does not hold a JSON object"),
    Case("meta.json without content", write("data/prepared/meta.json", "{}"), EVALUATE, "prepare is None"),
    Case("a shape of words", prepared(image_shape="8x8"), EVALUATE, "image_shape is '8x8'"),
    Case("no model", trained(model__keras=None), EVALUATE, "has no model.keras; train first"),
    Case("run.json empty", trained(run__json=""), EVALUATE, "run.json: not readable"),
    Case("run.json nested without end", trained(run__json="[" * 100_000), EVALUATE, "run.json: not readable"),
    Case("run.json without content", trained(run__json="{}"), EVALUATE, "not a run's record: run_id is None"),
    Case(
        "run.json with other kinds",
        trained(run__json=json.dumps(A_RECORD | {"epochs": "two"})),
        EVALUATE,
        "epochs is 'two'",
    ),
    Case(
        "a run that was killed",
        trained(run__json=json.dumps(A_RECORD | {"status": "KILLED"})),
        EVALUATE,
        "KILLED, not FINISHED",
    ),
    Case("a model cut off", trained(model__keras=keras_file()[:-30]), EVALUATE, "not a readable Keras model"),
    Case("config.yaml of NULs", trained(config__yaml=b"\0"), EVALUATE, "config.yaml: not readable"),
    Case("config.yaml a list", trained(config__yaml="[1]"), EVALUATE, "config.yaml: not"),
    Case("config.yaml without sections", trained(config__yaml="seed: 1"), EVALUATE, "it has no prepare.source"),
    Case(
        "history.csv empty",
        run_directory("outputs/a/b", history__csv=""),
        PROMOTE,
        "history.csv: not a readable history",
    ),
    Case(
        "history.csv with NaN",
        run_directory("outputs/a/b", history__csv=f"{PIECE}1,nan,1,1,1\n"),
        PROMOTE,
        "not a history",
    ),
    Case(
        "history.csv torn",
        run_directory("outputs/a/b", history__csv=f"{PIECE}1,0.5,0"),
        PROMOTE,
        "history.csv: not a readable history",
    ),
    Case(
        "history.csv with a gap",
        run_directory("outputs/a/b", history__csv=f"{PIECE}2,1,1,1,1\n"),
        PROMOTE,
        "not a history",
    ),
    Case("history.csv of heads alone", run_directory("outputs/a/b", history__csv=PIECE), PROMOTE, "not a history"),
    Case("no run to publish", nothing, PUBLISH, "a run/run.json: not readable"),
    Case("a run that MLflow cannot be told", run_directory("a run"), PUBLISH, "lacks token, name, started"),
    Case("an unknown run", nothing, ("epochwise", "promote", "nope"), "nope: no run of this id"),
    Case("an unknown run again", nothing, ("epochwise", "reproduce", "nope"), "nope: no run"),
    Case("no sweep", nothing, COMPARE, "no sweep; there is none in multirun/"),
    Case("sweep.json cut off", sweep("{"), COMPARE, "no sweep; there is none"),
    Case(
        "sweep.json cut off, named", sweep("{"), (*COMPARE, "--sweep", "multirun/day/time"), "sweep.json: not readable"
    ),
    Case("sweep.json without content", sweep("{}"), (*COMPARE, "--sweep", "multirun/day/time"), "not a sweep's record"),
    Case("a folder that is a file", write("outputs", ""), ("epochwise", "promote", "nope"), "nope: no run of this id"),
]
CORPUS = [*CONFIGURATIONS, *ARCHIVES, *IDX_FILES, *PICTURES, *MODELS, *RUN_DIRECTORIES]


def contents(root: Path) -> dict[Path, bytes | str]:
    """Every file but git's and MLflow's, which is not asked in most cases."""
    kept = (
        path
        for path in root.rglob("*")
        if not {".git", ".epochwise", "mlruns", "cache", "__pycache__"} & set(path.relative_to(root).parts)
    )
    return {
        path: os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in kept
        if path.is_symlink() or path.is_file() and not path.name.startswith("mlflow.db")
    }


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case.name)
def test_wrong_input_is_one_line_and_exit_2(project, case):
    case.make(project.path)
    before = contents(project.path)
    done = project.run(*case.command, within=60)  # it takes one or two; a minute is a hang on the busiest machine
    assert "Traceback" not in done.stderr
    if case.says:
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
        assert done.stderr.startswith("error: ") and case.says in done.stderr
    else:
        assert done.returncode == 0, done.stderr
    assert contents(project.path) == before
    assert not (project.path / "EXECUTED").exists()


def test_the_corpus_is_as_large_as_promised():
    assert len({case.name for case in CORPUS}) == len(CORPUS) >= 80
