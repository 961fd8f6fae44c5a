"""TensorFlow and Keras, imported without their greetings and set so that the same run gives the same bits."""

import os
import tempfile

from epochwise.common.errors import InputError
from epochwise.common.processes import redirected_output

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with tempfile.TemporaryFile() as _held:  # TensorFlow's native code prints to stderr on import, at any log level
    try:
        with redirected_output(_held, [2]):
            import keras
            import tensorflow as tf
            from tensorflow.python.framework import ops

            tf.config.list_physical_devices()
    except BaseException:
        _held.seek(0)
        os.write(2, _held.read())
        raise


def configure(threads: int) -> None:
    """Fix the number of threads and make every op deterministic. A process does this before its first tensor.

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
    # A user's keras.json or environment may set these otherwise, and they decide a result.
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    keras.config.set_max_epochs(None)
    keras.config.set_max_steps_per_epoch(None)


def release_graphs() -> None:
    """Remove the gradients of traced functions from TensorFlow's registry: they keep about 7 MB a training for ever.

    TensorFlow 2.21 has no public function for this. No function traced before can be differentiated afterwards.
    """
    registry = ops.gradient_registry._registry
    for name in [name for name in registry if name.startswith("CustomGradient-")]:
        del registry[name]


__all__ = ["configure", "keras", "release_graphs", "tf"]
