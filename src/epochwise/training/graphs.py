"""What TensorFlow keeps of networks that are gone, given back: a worker trains one after the other."""

from tensorflow.python.framework import ops

PREFIX = "CustomGradient-"  # how TensorFlow 2.21 names the gradient of a function that it has traced


def release() -> None:
    """Forget the gradients of traced functions, each of which holds its graph: some 7 MB a run, which would stay.

    TensorFlow has no public way to do so. No function traced before may be differentiated after this.
    """
    registered = ops.gradient_registry._registry
    for name in [name for name in registered if name.startswith(PREFIX)]:
        del registered[name]
