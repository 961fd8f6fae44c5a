"""validation_predictions.csv: read image by image, and never taken for another run's."""

import numpy as np
import pytest

from epochwise.common.errors import InputError
from epochwise.evaluation.validation_predictions import read_correct

NAME = "validation_predictions.csv"


def test_which_images_are_classified_correctly(tmp_path):
    (tmp_path / NAME).write_text("actual,predicted\n3,3\n11,1\n0,0\n0,7\n")
    assert read_correct(tmp_path, 0.5).tolist() == [True, False, True, False]


def test_runs_of_earlier_versions_have_none(tmp_path):
    assert read_correct(tmp_path, 0.5) is None


@pytest.mark.parametrize(
    "content", [b"", b"actual,predicted\n", b"actual,predicted\n1\n", b"actual\n1,1\n", b"actual,predicted\n1,\xff\n"]
)
def test_a_damaged_file_is_named_with_the_way_out(tmp_path, content):
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(InputError, match=f"{NAME}: not readable .*; remove it, or run again with sweep.rerun=true"):
        read_correct(tmp_path, 0.5)


def test_a_file_of_another_run_is_refused(tmp_path):
    (tmp_path / NAME).write_text("actual,predicted\n" + "1,1\n" * 300)
    with pytest.raises(InputError, match="is not of the run beside it"):
        read_correct(tmp_path, 0.99)
    assert np.all(read_correct(tmp_path, 1.0))
