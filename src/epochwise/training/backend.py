"""TensorFlow, imported quietly and set so that the same run gives the same bits."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from epochwise.common.errors import InputError


@contextmanager
def _native_stderr_held_back() -> Iterator[None]:
    """Hold back what native code writes to stderr, which on import is a greeting at any log level, unless it fails."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(saved, held.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with _native_stderr_held_back():
    import keras
    import tensorflow as tf

    tf.config.list_physical_devices()


def configure(threads: int) -> None:
    """Fix the number of threads and make every op deterministic, once in a process, before its first tensor.

    Raises InputError if this process already computes with another number of threads.
    """
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError as error:
        raise InputError(
            f"train.threads={threads}: this process already runs TensorFlow with "
            f"{tf.config.threading.get_intra_op_parallelism_threads()}; start it in a process of its own"
        ) from error
    tf.config.experimental.enable_op_determinism()
    # A user's keras.json and environment may say otherwise, and these decide a result.
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    keras.config.set_max_epochs(None)
    keras.config.set_max_steps_per_epoch(None)


__all__ = ["configure", "keras", "tf"]
