"""A table of wrong input: each case is refused in one line with exit code 2, or is legal; nothing is deleted.

Each case makes its input in a project and names the command and what the refusal says. So this file is also the list of
what is promised.
"""

import hashlib
import io
import json
import os
import pickle
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from conftest import A_RECORD, Project, template
from image_files import gzip_bomb, idx, npy, npy_header, npz, zip_bomb, zip_of
from PIL import Image

from epochwise.data.idx import IDX_FILES

# The cases run in this process, because starting Python for each would take minutes. In a process of its own, a warning
# that Python shows by default would be a second line.
pytestmark = pytest.mark.filterwarnings(
    "error", *(f"ignore::{name}" for name in ("DeprecationWarning", "PendingDeprecationWarning", "ResourceWarning"))
)

Make = Callable[[Path], None]  # makes the input in a project


class Case(NamedTuple):
    """A wrong or unusual input, the arguments of `epochwise`, and a part of the refusal; "" if the input is legal."""

    name: str
    make: Make
    arguments: tuple[str, ...]
    refusal: str


class Executed:
    """Leaves a file when it is unpickled: the proof that code of the input was executed."""

    def __reduce__(self):
        return os.system, ("touch EXECUTED",)


CHECK = ("check",)
SOURCE = ("check", "prepare.validation_size=0")  # and prepare.source=…
OWN = (*SOURCE, "prepare.source=own.npz")
IDX = (*SOURCE, "prepare.source=idx")
EVALUATE = ("evaluate",)
PREDICT = ("predict", "photo.png")
MODEL_HERE = ("predict", "--random", "1", "--model", "a run")
COMPARE = ("compare",)
PUBLISH = ("publish", "a run")
PROMOTE = ("promote", "recorded")

LABELS = np.arange(40, dtype=np.uint8) % 4
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8)
GOOD = {
    "x_train": PIXELS,
    "y_train": LABELS,
    "x_test": PIXELS[:8],
    "y_test": LABELS[:8],
}
GOOD_NPZ = npz(**GOOD)
CONFIG = """
seed: 0
prepare: {source: digits, validation_size: 300, train_size: 0, split_seed: 0}
model: {dense_dropout: 0.5}
train: {epochs: 2}
"""
HISTORY_HEADER = "epoch,loss,accuracy,val_loss,val_accuracy\n"


def write(name: str, content: bytes | str | Callable[[], bytes]) -> Make:
    """`content` may be a function if it takes long to make."""

    def make(root: Path) -> None:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        made = content() if callable(content) else content
        path.write_bytes(made.encode() if isinstance(made, str) else made)

    return make


def edit(name: str, old: str, new: str) -> Make:
    def make(root: Path) -> None:
        text = (root / name).read_text()
        assert old in text
        (root / name).write_text(text.replace(old, new))

    return make


def both(*makes: Make) -> Make:
    def make(root: Path) -> None:
        for one in makes:
            one(root)

    return make


def nothing(_: Path) -> None:
    pass


def own(**different: np.ndarray | None) -> Make:
    """own.npz with the arrays of GOOD, but for those that are different; None leaves one out."""
    return write("own.npz", npz(**{key: values for key, values in (GOOD | different).items() if values is not None}))


def own_with_member(x_train: bytes) -> Make:
    """own.npz with this content of x_train.npy."""
    members = {f"{key}.npy": npy(values) for key, values in GOOD.items()} | {"x_train.npy": x_train}
    return write("own.npz", zip_of(members))


def idx_folder(**different: bytes | None) -> Make:
    """The four IDX files of GOOD, but for those that are different; None leaves one out."""
    contents = {key: different.get(key, idx(values)) for key, values in GOOD.items()}
    files = zip(IDX_FILES, contents.values(), strict=True)
    return both(*(write(f"idx/{name}", content) for name, content in files if content is not None))


def gzipped(x_train: bytes | Callable[[], bytes]) -> Make:
    """The four IDX files with this content of the gzipped training images."""
    return both(idx_folder(x_train=None), write(f"idx/{IDX_FILES[0]}.gz", x_train))


def png(size: tuple[int, int] = (8, 8)) -> bytes:
    content = io.BytesIO()
    Image.new("L", size).save(content, "PNG")
    return content.getvalue()


def big_png() -> bytes:
    """A header that declares 100,000×100,000 pixels, before the rest of a small picture."""
    head = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", len(head)) + b"IHDR" + head + struct.pack(">I", zlib.crc32(b"IHDR" + head))
    return b"\x89PNG\r\n\x1a\n" + chunk + png()[33:]


def keras_file(**different: bytes | None) -> bytes:
    content = {"config.json": b"{}", "metadata.json": b"{}", "model.weights.h5": b""} | different
    return zip_of({name: value for name, value in content.items() if value is not None})


MODEL = keras_file()
RECORD = A_RECORD | {"model_sha256": hashlib.sha256(MODEL).hexdigest()}


def prepared(**different: object) -> Make:
    """Prepared data with a description that may be wrong."""
    meta = {
        "prepare": {"source": "digits", "validation_size": 300, "train_size": 0, "split_seed": 0},
        **{"source": "digits", "image_shape": [8, 8, 1], "classes": 10},
        **dict.fromkeys(("train_images", "validation_images", "test_images"), 1),
        "sha256": hashlib.sha256(GOOD_NPZ).hexdigest(),
    }
    described = write("data/prepared/meta.json", json.dumps(meta | different))
    return both(write("data/prepared/data.npz", GOOD_NPZ), described)


def run_directory(folder: str, **different: bytes | str | None) -> Make:
    """The files of a finished run, but for those that are different; None leaves one out."""
    files = {
        "config.yaml": CONFIG,
        "history.csv": f"{HISTORY_HEADER}1,1,1,1,1\n2,1,1,1,1\n",
        "model.keras": MODEL,
        "run.json": json.dumps(RECORD),
        "metrics.json": json.dumps(dict.fromkeys(("val_accuracy", "val_loss", "best_epoch", "best_val_accuracy"), 1)),
    }
    named = {name.replace("__", "."): content for name, content in different.items()}
    kept = {name: content for name, content in (files | named).items() if content is not None}
    return both(*(write(f"{folder}/{name}", content) for name, content in kept.items()))


def trained(**different: bytes | str | None) -> Make:
    """Prepared data and the pipeline's run."""
    return both(prepared(), run_directory("models", **different))


def sweep(content: str) -> Make:
    return write("multirun/day/time/sweep.json", content)


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
    Case("a good npz", own(), OWN, ""),
    Case(
        "spaces and Unicode in its name",
        write("meine Bilder/zwölf ✓.npz", GOOD_NPZ),
        (*SOURCE, "prepare.source='meine Bilder/zwölf ✓.npz'"),
        "",
    ),
    Case("labels N×1", own(y_train=LABELS[:, None], y_test=LABELS[:8, None]), OWN, ""),
    Case("an empty file", write("own.npz", b""), OWN, "own.npz is not a readable .npz"),
    Case("a cut off npz", write("own.npz", GOOD_NPZ[:-100]), OWN, "own.npz is not a readable .npz"),
    Case(
        "a flipped byte",
        write("own.npz", GOOD_NPZ[:500] + b"\xff" + GOOD_NPZ[501:]),
        OWN,
        "own.npz is not a readable .npz",
    ),
    Case("text", write("own.npz", "x_train: 1"), OWN, "own.npz is not a readable .npz"),
    Case("a single npy", write("own.npz", npy(GOOD["x_train"])), OWN, "own.npz is not a readable .npz"),
    Case("a pickle", write("own.npz", pickle.dumps(Executed())), OWN, "own.npz is not a readable .npz"),
    Case(
        "a pickled object inside",
        own(x_train=np.array([Executed()], object)),
        OWN,
        "it holds pickled objects, which are never loaded",
    ),
    Case("a missing array", own(y_test=None), OWN, "lacks y_test"),
    Case("more arrays", own(extra=LABELS), OWN, ""),
    Case("black images", own(x_train=np.zeros((40, 8, 8))), OWN, "hold the value 0 only"),
    Case("NaN pixels", own(x_train=np.full((40, 8, 8), np.nan)), OWN, "hold 2,560 values that are NaN or infinite"),
    Case("words", own(y_train=np.array(["a"] * 40)), OWN, "has words as labels in one part and numbers in the other"),
    Case("complex numbers", own(x_train=np.zeros((40, 8, 8), complex)), OWN, "pixels are numbers"),
    Case("pixels of 256", own(x_train=np.full((40, 8, 8), 256, np.int16)), OWN, "values outside 0…255"),
    Case("negative pixels", own(x_train=np.full((40, 8, 8), -1, np.int8)), OWN, "values -1…-1; pixels are 0…255"),
    Case("flat images", own(x_train=PIXELS.reshape(40, -1)[:, 1:]), OWN, "rows of 63 numbers, which is no square"),
    Case("images of no pixels", own(x_train=np.zeros((40, 0, 8), np.uint8)), OWN, "give one label for each image"),
    Case(
        "no images",
        own(x_train=np.zeros((0, 8, 8), np.uint8), y_train=LABELS[:0]),
        OWN,
        "give one label for each image",
    ),
    Case("other sizes for testing", own(x_test=PIXELS[:8, :6, :6]), OWN, "trains on"),
    Case("fewer labels than images", own(y_train=LABELS[:-1]), OWN, "give one label for each image"),
    Case("labels of two columns", own(y_train=np.full((40, 2), 0.5)), OWN, "are not one-hot: row 0 is 0.5, 0.5"),
    Case(
        "negative labels",
        own(y_train=LABELS.astype(int) - 1),
        OWN,
        "has the test label 3 (2 images), but training labels are -1…2",
    ),
    Case("a label left out", own(y_train=LABELS * 2, y_test=LABELS[:8] * 2), OWN, "1, 3, 5 left out"),
    Case("one class only", own(y_train=LABELS * 0, y_test=LABELS[:8] * 0), OWN, "two or more"),
    Case("a test label without training", own(y_test=LABELS[:8] + 1), OWN, "test label 4"),
    Case("a label of 2⁶³", own(y_train=np.full(40, 2**63, np.uint64)), OWN, "labels"),
    Case(
        "a shape of terabytes",
        own_with_member(npy_header((10**6, 10**6))),
        OWN,
        "own.npz is not a readable .npz",
    ),
    Case(
        "a negative shape",
        own_with_member(npy_header((-1, 8, 8))),
        OWN,
        "own.npz is not a readable .npz",
    ),
    Case(
        "a header that is code",
        own_with_member(b"\x93NUMPY\x01\x00\x20\x00__import__('os').system('ls')   \n"),
        OWN,
        "own.npz is not a readable .npz",
    ),
    Case(
        "a header without end",
        own_with_member(b"\x93NUMPY\x02\x00\xff\xff\xff\x7f{"),
        OWN,
        "own.npz is not a readable .npz",
    ),
    Case(
        "nested brackets",
        own_with_member(b"\x93NUMPY\x01\x00\x10\x27" + b"(" * 10000),
        OWN,
        "own.npz is not a readable .npz",
    ),
    Case("a zip bomb", write("own.npz", zip_bomb), OWN, "unpacks to 5.0 GiB; 4 GiB are the most"),
    Case("names that lead out", write("own.npz", zip_of({"../../x_train.npy": b""})), OWN, "x_train in"),
    Case("a folder of that name", lambda root: (root / "own.npz").mkdir(), OWN, "own.npz holds nothing; give an .npz"),
    Case("no such file", nothing, OWN, "no file or folder 'own.npz'"),
    Case("a name of 300 characters", nothing, (*SOURCE, f"prepare.source={'a' * 300}"), "no file or folder"),
    Case("a loop of links", lambda root: (root / "own.npz").symlink_to("own.npz"), OWN, "no file or folder"),
    Case(
        "a link to a good file",
        both(write("there.npz", GOOD_NPZ), lambda root: (root / "own.npz").symlink_to("there.npz")),
        OWN,
        "",
    ),
    Case("a device", nothing, (*SOURCE, "prepare.source=/dev/zero"), "no file or folder"),
    Case("an unknown user's home", nothing, (*SOURCE, "prepare.source='~nobody-here/x.npz'"), "no file or folder"),
]
IDX_FOLDERS = [
    Case("a good folder", idx_folder(), IDX, ""),
    Case("a missing file", idx_folder(y_test=None), IDX, "has no t10k-labels-idx1-ubyte"),
    Case("an empty one", idx_folder(x_train=b""), IDX, "not a readable IDX file"),
    Case("a header alone", idx_folder(x_train=b"\0\0\x08\x03\0\0"), IDX, "not a readable IDX file"),
    Case("a cut off one", idx_folder(x_train=idx(GOOD["x_train"])[:-1]), IDX, "truncated or torn"),
    Case("a byte too many", idx_folder(x_train=idx(GOOD["x_train"]) + b"\0"), IDX, "truncated or torn"),
    Case("no values", idx_folder(x_train=b"\0\0\x0d\x03" + b"\0" * 12), IDX, "train images of shape (0, 0, 0)"),
    Case("an unknown type", idx_folder(x_train=b"\0\0\x0a\x03" + b"\0" * 12), IDX, "not a readable IDX file"),
    Case("no dimension", idx_folder(x_train=b"\0\0\x08\0\0"), IDX, "truncated or torn"),
    Case("255 dimensions", idx_folder(x_train=b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"\0"), IDX, "truncated or torn"),
    Case("a declared terabyte", idx_folder(x_train=b"\0\0\x08\x03" + b"\0\1\0\0" * 3), IDX, "4 GiB are the most"),
    Case("labels for images", idx_folder(x_train=idx(LABELS)), IDX, "have the shape (40,); images are N×H×W"),
    Case("a gzip bomb", gzipped(gzip_bomb), IDX, "truncated or torn: more bytes"),
    Case("a cut off gzip", gzipped(lambda: gzip_bomb()[:200]), IDX, "train-images"),
    Case("no gzip", gzipped(b"plain"), IDX, "not a readable IDX file"),
]
PICTURES = [
    Case("no picture", nothing, PREDICT, "photo.png: not there"),
    Case("an empty picture", write("photo.png", b""), PREDICT, "photo.png: is empty"),
    Case(
        "a cut off picture", write("photo.png", png(size=(300, 300))[:20]), PREDICT, "photo.png: not a readable picture"
    ),
    Case("a picture of text", write("photo.png", "no picture"), PREDICT, "photo.png: not a picture in a known format"),
    Case("10¹⁰ declared pixels", write("photo.png", big_png()), PREDICT, "photo.png: has more than 50,000,000 pixels"),
    Case("a damaged GIF", write("photo.png", b"GIF89a" + b"\0" * 50), PREDICT, "photo.png: is a damaged GIF"),
    Case("a picture in another format", write("photo.png", b"%PDF-1.7"), PREDICT, "photo.png: is a PDF; PNG, JPEG"),
    Case("a folder of pictures", write("photo.png/a.png", png()), PREDICT, "photo.png: is a folder; give the pictures"),
    Case("a good picture, no model", write("photo.png", png()), PREDICT, "models/model.keras: not there; train first"),
    Case(
        "a picture and --random", write("photo.png", png()), (*PREDICT, "--random", "1"), "give pictures, or --random N"
    ),
]
MODELS = [
    Case(
        "an empty model",
        run_directory("a run", model__keras=b""),
        MODEL_HERE,
        "model.keras: not a readable Keras model",
    ),
    Case(
        "a model of text",
        run_directory("a run", model__keras="x"),
        MODEL_HERE,
        "model.keras: not a readable Keras model",
    ),
    Case(
        "a pickle as model",
        run_directory("a run", model__keras=pickle.dumps(Executed())),
        MODEL_HERE,
        "not a readable Keras model",
    ),
    Case(
        "a model without weights",
        run_directory("a run", model__keras=keras_file(**{"model.weights.h5": None})),
        MODEL_HERE,
        "it has no model.weights.h5",
    ),
    Case("a cut off model", run_directory("a run", model__keras=MODEL[:-30]), MODEL_HERE, "not a readable Keras model"),
    Case(
        "a model that is a folder",
        lambda root: (root / "a run/model.keras").mkdir(parents=True),
        MODEL_HERE,
        "train first",
    ),
    Case(
        "no such run",
        nothing,
        ("predict", "--random", "1", "--model", "nope"),
        "no run with a model here or in MLflow",
    ),
]


def other_data(root: Path) -> None:
    """A finished training, then prepared data of the same parameters with another content."""
    trained()(root)
    meta = root / "data/prepared/meta.json"
    meta.write_text(json.dumps(json.loads(meta.read_text()) | {"sha256": "0" * 64}))


RUN_DIRECTORIES = [
    Case("meta.json cut off", write("data/prepared/meta.json", "{"), EVALUATE, "meta.json: not readable"),
    Case("meta.json a list", write("data/prepared/meta.json", "[]"), EVALUATE, "does not hold a JSON object"),
    Case("meta.json without content", write("data/prepared/meta.json", "{}"), EVALUATE, "prepare is None"),
    Case("a shape of words", prepared(image_shape="8x8"), EVALUATE, "image_shape is '8x8'"),
    Case("no model", trained(model__keras=None), EVALUATE, "has no model.keras; train first"),
    Case("run.json empty", run_directory("a run", run__json=""), MODEL_HERE, "run.json: not readable"),
    Case(
        "run.json nested without end",
        run_directory("a run", run__json="[" * 100_000),
        MODEL_HERE,
        "run.json: not readable",
    ),
    Case(
        "run.json without content",
        run_directory("a run", run__json="{}"),
        MODEL_HERE,
        "not a run's record: run_id is None",
    ),
    Case(
        "run.json with other kinds",
        run_directory("a run", run__json=json.dumps(RECORD | {"epochs": "two"})),
        MODEL_HERE,
        "epochs is 'two'",
    ),
    Case(
        "a run that was killed",
        trained(run__json=json.dumps(RECORD | {"status": "KILLED"})),
        EVALUATE,
        "KILLED, not FINISHED",
    ),
    Case("a model cut off", trained(model__keras=MODEL[:-30]), EVALUATE, "not a readable Keras model"),
    Case("config.yaml of NULs", trained(config__yaml=b"\0"), EVALUATE, "config.yaml: not readable"),
    Case("config.yaml a list", trained(config__yaml="[1]"), EVALUATE, "config.yaml: not"),
    Case("config.yaml without sections", trained(config__yaml="seed: 1"), EVALUATE, "it has no prepare.source"),
    Case(
        "a source that is a number",
        trained(config__yaml=CONFIG.replace("digits", "5")),
        EVALUATE,
        "it has no prepare.source of the right type",
    ),
    Case(
        "no seed", trained(config__yaml=CONFIG.replace("seed: 0\n", "")), EVALUATE, "it has no seed of the right type"
    ),
    Case("other data than the model's", other_data, EVALUATE, "was trained on other data than data/prepared holds"),
    *(
        Case(f"a name of 300 letters: {' '.join(command)}", nothing, (*command, "a" * 300), "File name too long")
        for command in (("compare", "--sweep"), ("promote", "--sweep"), ("predict", "--random", "1", "--model"))
    ),
    Case("a run in the pipeline's folder", nothing, ("run", "hydra.run.dir=models"), "must lie in outputs/"),
    Case("a run outside the project", nothing, ("run", "hydra.run.dir=/nowhere"), "must lie in outputs/"),
    Case("a run for all of outputs", nothing, ("run", "hydra.run.dir=outputs"), "must lie in outputs/"),
    Case(
        "a run among a user's files",
        write("outputs/mine/history.csv", "precious"),
        ("run", "hydra.run.dir=outputs/mine"),
        "holds other files than a run's",
    ),
    Case(
        "history.csv empty",
        run_directory("outputs/a/b", history__csv=""),
        PROMOTE,
        "history.csv: not a readable history",
    ),
    Case(
        "history.csv with NaN",
        run_directory("outputs/a/b", history__csv=f"{HISTORY_HEADER}1,nan,1,1,1\n"),
        PROMOTE,
        "not a history",
    ),
    Case(
        "history.csv torn",
        run_directory("outputs/a/b", history__csv=f"{HISTORY_HEADER}1,0.5,0"),
        PROMOTE,
        "history.csv: not a readable history",
    ),
    Case(
        "history.csv with a gap",
        run_directory("outputs/a/b", history__csv=f"{HISTORY_HEADER}2,1,1,1,1\n"),
        PROMOTE,
        "not a history",
    ),
    Case(
        "history.csv without rows", run_directory("outputs/a/b", history__csv=HISTORY_HEADER), PROMOTE, "not a history"
    ),
    Case("no run to publish", nothing, PUBLISH, "a run: no run of this id or directory"),
    Case("a run that lacks what MLflow shows", run_directory("a run"), PUBLISH, "lacks token, name, started"),
    Case("an unknown run", nothing, ("promote", "nope"), "nope: no run with a model here or in MLflow"),
    Case("an unknown run again", nothing, ("reproduce", "nope"), "nope: no run"),
    Case("an empty id to promote", nothing, ("promote", "", "--force"), "RUN_ID is empty; leave it out, or name one"),
    Case("an empty id to publish", nothing, ("publish", ""), "is empty; leave it out, or name one"),
    Case("an empty id to compare", nothing, ("compare", ""), "is empty; leave it out, or name one"),
    Case("an empty sweep", nothing, ("promote", "--sweep", ""), "is empty; leave it out, or name one"),
    Case("an empty --model", nothing, ("export", ""), "is empty; leave it out, or name one"),
    Case("no sweep", nothing, COMPARE, "no sweep is in multirun/ yet"),
    Case("sweep.json cut off", sweep("{"), COMPARE, "no sweep is in multirun/ yet"),
    Case(
        "sweep.json cut off, named", sweep("{"), (*COMPARE, "--sweep", "multirun/day/time"), "sweep.json: not readable"
    ),
    Case("sweep.json without content", sweep("{}"), (*COMPARE, "--sweep", "multirun/day/time"), "not a sweep's record"),
    Case(
        "a folder that is a file",
        write("outputs", ""),
        ("promote", "nope"),
        "nope: no run with a model here or in MLflow",
    ),
]
CASES = [*CONFIGURATIONS, *ARCHIVES, *IDX_FOLDERS, *PICTURES, *MODELS, *RUN_DIRECTORIES]


def contents(root: Path) -> dict[Path, bytes | str]:
    """Every file of a project but the locks, the cache and what is MLflow's, which some commands open."""
    kept = (
        path for path in root.rglob("*") if not {".epochwise", "mlruns", "cache"} & set(path.relative_to(root).parts)
    )
    return {
        path: os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in kept
        if path.is_symlink() or path.is_file() and not path.name.startswith("mlflow.db")
    }


@pytest.fixture
def small_project(tmp_path, monkeypatch):
    """A project without its code and the commits of its repository, which no case needs and which take long to copy."""
    for name in ("DVC_ROOT", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "a project"
    shutil.copytree(template(), path, ignore=shutil.ignore_patterns(".git", "src"))
    (path / ".git").mkdir()
    return Project(path)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_wrong_input_is_one_line_and_exit_code_2(small_project, case):
    project = small_project
    case.make(project.path)
    before = contents(project.path)
    done = project.cli(*case.arguments)
    if case.refusal:
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
        assert done.stderr.startswith("error: ") and case.refusal in done.stderr
    else:
        assert done.returncode == 0, done.stderr
    assert contents(project.path) == before
    assert not (project.path / "EXECUTED").exists()


def test_a_process_of_its_own_refuses_in_the_same_way(project):
    own(x_train=np.array([Executed()], object))(project.path)
    done = project.run("epochwise", *OWN)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert done.stderr.startswith("error: ") and "it holds pickled objects, which are never loaded" in done.stderr
    assert not (project.path / "EXECUTED").exists()


def test_the_table_is_as_large_as_promised():
    assert len({case.name for case in CASES}) == len(CASES) >= 80
