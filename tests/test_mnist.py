"""The real data set, by whichever way this network has."""

import numpy as np
import pytest

from epochwise.common.files import digest, read_json
from epochwise.data.sources import NAMED, PARTS


@pytest.mark.slow
def test_real_mnist_arrives_and_is_prepared(project):
    project.edit("params.yaml", "source: digits", "source: mnist")
    project.edit("params.yaml", "validation_size: 300", "validation_size: 5000")
    project.ok("epochwise", "prepare")
    for part, expected in zip(PARTS, NAMED["mnist"].sha256, strict=True):
        assert digest(project.path / "data/cache/mnist" / part) == expected
    with np.load(project.path / "data/prepared/data.npz") as arrays:
        shapes = {key: values.shape for key, values in arrays.items()}
        counts = arrays["y_test"].sum(axis=0)
        assert (arrays["x_train"].min(), arrays["x_train"].max()) == (0, 1)
    assert shapes == {
        "x_train": (55_000, 28, 28, 1),
        "y_train": (55_000, 10),
        "x_validation": (5_000, 28, 28, 1),
        "y_validation": (5_000, 10),
        "x_test": (10_000, 28, 28, 1),
        "y_test": (10_000, 10),
    }
    assert counts.tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]  # as the MNIST page counts them
    first = read_json(project.path / "data/prepared/meta.json")
    project.ok("epochwise", "prepare")
    assert read_json(project.path / "data/prepared/meta.json") == first
