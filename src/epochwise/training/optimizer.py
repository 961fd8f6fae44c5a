"""Keras's Adam with its update of a variable as one op of TensorFlow's."""

from typing import Any

from epochwise.training.backend import keras, tf


class FusedAdam(keras.optimizers.Adam):
    """The same hyper-parameters, variables and formula as Keras's Adam (Kingma and Ba, arXiv 1412.6980).

    Keras's own update is a dozen ops, each of which reads or writes every weight: 7 % to 10 % of a training step.
    What is not Adam itself is left out: `amsgrad`, weight decay and the like.
    """

    def __init__(
        self, learning_rate: float = 0.001, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-7
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update `variable` and its two moments, as Keras asks for each variable in a step."""
        index, dtype = self._get_variable_index(variable), variable.dtype
        step = tf.cast(self.iterations + 1, dtype)
        beta_1, beta_2 = tf.constant(self.beta_1, dtype), tf.constant(self.beta_2, dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(beta_1, step),
            beta2_power=tf.pow(beta_2, step),
            lr=tf.cast(learning_rate, dtype),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=tf.constant(self.epsilon, dtype),
            grad=gradient,
        )
