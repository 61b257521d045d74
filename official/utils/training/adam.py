"""Adam in one pass over memory, with a learning rate of its own for each layer."""

from collections.abc import Sequence

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="official")
class Adam(keras.optimizers.Adam):
    """Adam as Kingma and Ba wrote it, computed by TensorFlow's fused kernel.

    Keras' chain of operations reads and writes weights and moments about ten times; the
    kernel does so once. Epsilon is added to the root of the second moment without bias,
    as in Algorithm 1 of "Adam: A Method for Stochastic Optimization", 2014,
    arXiv:1412.6980, and in PyTorch. Keras adds it to the root of the biased one, which
    makes it 1 / sqrt(1 - beta_2^step) times as strong: 32 times in the first step. The
    variables are those of `keras.optimizers.Adam`. The weight decay is decoupled, and
    comes before the update (Loshchilov and Hutter, "Decoupled Weight Decay
    Regularization", 2017, arXiv:1711.05101).

    Attributes:
        rate_scales: what the learning rate is multiplied by for each variable, in the
            order of `build`; None for 1.
    """

    rate_scales: Sequence[float] | None = None

    def update_step(self, gradient, variable, learning_rate):
        """Moves a variable and its moments; see `keras.optimizers.Adam`."""
        index = self._get_variable_index(variable)
        rate = tf.cast(learning_rate, variable.dtype)
        if self.rate_scales is not None:
            rate *= self.rate_scales[index]
        if self.weight_decay and self._use_weight_decay(variable):
            variable.assign_sub(variable * (rate * self.weight_decay))
        step = tf.cast(self.iterations + 1, variable.dtype)
        beta_2_power = tf.cast(self.beta_2, variable.dtype) ** step
        momentum, velocity = self._momentums[index], self._velocities[index]
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=momentum.value.handle,
            v=velocity.value.handle,
            beta1_power=tf.cast(self.beta_1, variable.dtype) ** step,
            beta2_power=beta_2_power,
            lr=rate,
            beta1=tf.cast(self.beta_1, variable.dtype),
            beta2=tf.cast(self.beta_2, variable.dtype),
            # The kernel divides by the biased root plus this.
            epsilon=self.epsilon * tf.sqrt(1 - beta_2_power),
            grad=tf.cast(tf.convert_to_tensor(gradient), variable.dtype),
        )

    def _apply_weight_decay(self, variables):
        """Leaves it to `update_step`, which knows the rate of each variable."""
