"""The real MNIST, by whichever fetcher this network lets through."""

import json

import numpy as np
import pytest

from epochwise.common.files import file_digest, read_json
from epochwise.data.downloads import DATASETS
from epochwise.data.idx import IDX_FILES


@pytest.mark.slow
def test_real_mnist_is_fetched_and_prepared(project):
    project.edit("params.yaml", "source: digits", "source: mnist")
    project.edit("params.yaml", "validation_size: 300", "validation_size: 5000")
    project.ok("epochwise", "prepare")
    for name, expected in zip(IDX_FILES, DATASETS["mnist"].sha256, strict=True):
        assert file_digest(project.path / "data/cache/mnist" / name) == expected
    with np.load(project.path / "data/prepared/data.npz") as arrays:
        shapes = {key: values.shape for key, values in arrays.items()}
        counts = arrays["y_test"].sum(axis=0)
        assert (arrays["x_train"].min(), arrays["x_train"].max()) == (0, 1)
        training_counts = (arrays["y_train"].sum(axis=0) + arrays["y_validation"].sum(axis=0)).astype(int)
    assert shapes == {
        "x_train": (55_000, 28, 28, 1),
        "y_train": (55_000, 10),
        "x_validation": (5_000, 28, 28, 1),
        "y_validation": (5_000, 10),
        "x_test": (10_000, 28, 28, 1),
        "y_test": (10_000, 10),
    }
    assert counts.tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]  # as the MNIST page counts them
    shape = DATASETS["mnist"].shape
    assert (training_counts.sum(), training_counts.min()) == (shape.train_images, shape.smallest_class)
    first = read_json(project.path / "data/prepared/meta.json")
    project.ok("epochwise", "prepare")
    assert read_json(project.path / "data/prepared/meta.json") == first
    project.ok("epochwise", "run", "experiment=fast", "hydra.run.dir=outputs/fast", "tracking=off")
    metrics = json.loads((project.path / "outputs/fast/metrics.json").read_text())
    assert metrics["test_accuracy"] > 0.985  # 0.991 ± 0.001 on the machine of docs/performance.md
