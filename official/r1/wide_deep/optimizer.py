"""One optimizer for the wide part and another for the deep one, in the same step."""

from collections.abc import Sequence

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="official")
class Ftrl(keras.optimizers.Ftrl):
    """FTRL-Proximal in one pass over memory, by TensorFlow's fused kernel.

    McMahan et al., "Ad Click Prediction: a View from the Trenches", 2013,
    https://doi.org/10.1145/2487575.2488200. The variables and numbers are those of
    `keras.optimizers.Ftrl` with `beta` 0.
    """

    def update_step(self, gradient, variable, learning_rate):
        """Moves a variable and its slots; see `keras.optimizers.Ftrl`."""
        index = self._get_variable_index(variable)

        def number(value):
            return tf.cast(value, variable.dtype)

        tf.raw_ops.ResourceApplyFtrlV2(
            var=variable.handle,
            accum=self._accumulators[index].value.handle,
            linear=self._linears[index].value.handle,
            # A row that the batch holds several times counts with its sum. Rows that it
            # does not hold stay as they are: their gradient is 0.
            grad=number(tf.convert_to_tensor(gradient)),
            lr=number(learning_rate),
            l1=number(self.l1_regularization_strength),
            l2=number(self.l2_regularization_strength),
            l2_shrinkage=number(self.l2_shrinkage_regularization_strength),
            lr_power=number(self.learning_rate_power),
        )


@keras.saving.register_keras_serializable(package="official")
class WideDeepOptimizer(keras.optimizers.Optimizer):
    """Updates the variables of the wide part by one optimizer, all others by another.

    Clipping, the moving average and the count of steps are those of the whole. The
    learning rate that it shows is the deep part's. The wide part's is its own and stays
    the same over the run: FTRL computes a weight anew from the sum of all gradients,
    so a rate that falls to 0 would take the weight there too.
    """

    def __init__(
        self,
        wide: keras.optimizers.Optimizer,
        deep: keras.optimizers.Optimizer,
        wide_variables: Sequence[keras.Variable],
        name: str = "wide_deep",
    ):
        """Composes two optimizers, neither of them built.

        Args:
            wide: for `wide_variables`.
            deep: for all others; it also says how to clip, to average and to scale the
                loss.
            wide_variables: of the network that the optimizer will be built with.
            name: of the optimizer.
        """
        rate = deep._learning_rate
        is_schedule = isinstance(rate, keras.optimizers.schedules.LearningRateSchedule)
        super().__init__(
            learning_rate=rate if is_schedule else float(rate.numpy()),
            weight_decay=deep.weight_decay,
            clipnorm=deep.clipnorm,
            global_clipnorm=deep.global_clipnorm,
            clipvalue=deep.clipvalue,
            use_ema=deep.use_ema,
            ema_momentum=deep.ema_momentum,
            loss_scale_factor=deep.loss_scale_factor,
            name=name,
        )
        self._wide, self._deep = wide, deep
        self._wide_keys = {self._var_key(variable) for variable in wide_variables}
        # The whole has the moving average, of all variables.
        deep.use_ema = False

    def _part(self, variable) -> keras.optimizers.Optimizer:
        return self._wide if self._var_key(variable) in self._wide_keys else self._deep

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Makes the slots of both optimizers."""
        if self.built:
            return
        super().build(variables)
        for part in (self._wide, self._deep):
            own = [variable for variable in variables if self._part(variable) is part]
            # One count of steps, by which Adam corrects its moments.
            part._iterations = self._iterations
            part.build(own)
            assert part._variables[0].name == "iteration"
            part._variables[0] = self._iterations
            for slot in part.variables[1:]:
                if slot is not part._learning_rate:
                    self._track_variable(slot)

    def update_step(self, gradient, variable, learning_rate):
        """Moves a variable by the optimizer of its part."""
        part = self._part(variable)
        rate = self._wide.learning_rate if part is self._wide else learning_rate
        part.update_step(gradient, variable, rate)

    def _use_weight_decay(self, variable) -> bool:
        part = self._part(variable)
        return bool(part.weight_decay) and part._use_weight_decay(variable)

    def _apply_weight_decay(self, variables) -> None:
        for part in (self._wide, self._deep):
            own = [variable for variable in variables if self._part(variable) is part]
            if own:
                part._apply_weight_decay(own)
