"""Keras's optimizers with the update of a variable as one op of TensorFlow's.

Keras's own updates are several ops, each of which reads or writes every weight: Adam's take 7 % to 10 % of a training
step. Hyper-parameters, variables and formulas are Keras's. Weight decay, for which TensorFlow has no such op, is that
of Keras: each weight is made smaller by the share `weight_decay` times the rate, before its update.
"""

from typing import Any

from omegaconf import DictConfig

from epochwise.training.backend import keras, tf

ADAMW_DECAY = 0.004  # Keras's default


def make_optimizer(train: DictConfig) -> keras.optimizers.Optimizer:
    """The optimizer that `train` names. AdamW is Adam with weight decay, as in Keras."""
    default = ADAMW_DECAY if train.optimizer == "adamw" else None
    decay = {"weight_decay": (default if train.weight_decay is None else train.weight_decay) or None}
    if train.optimizer == "sgd":
        return FusedSGD(train.learning_rate, train.momentum, train.nesterov, **decay)
    return FusedAdam(train.learning_rate, train.beta_1, train.beta_2, train.epsilon, **decay)


class FusedAdam(keras.optimizers.Adam):
    """Keras's Adam (Kingma and Ba, arXiv 1412.6980), and with `weight_decay` its AdamW (arXiv 1711.05101)."""

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
            grad=tf.convert_to_tensor(gradient),
        )


class FusedSGD(keras.optimizers.SGD):
    """Keras's stochastic gradient descent, with or without momentum and Nesterov's form of it."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update `variable`, and its momentum if there is any, as Keras asks for each variable in a step."""
        dtype, handle, gradient = variable.dtype, variable.handle, tf.convert_to_tensor(gradient)
        rate = tf.cast(learning_rate, dtype)
        if not self.momentum:
            tf.raw_ops.ResourceApplyGradientDescent(var=handle, alpha=rate, delta=gradient)
            return
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=handle,
            accum=self.momentums[self._get_variable_index(variable)].value.handle,
            lr=rate,
            grad=gradient,
            momentum=tf.constant(self.momentum, dtype),
            use_nesterov=self.nesterov,
        )
