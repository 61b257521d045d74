"""Optimizers and learning-rate schedules that the models share."""

import collections
import math
from collections.abc import Mapping, Sequence

import keras
from keras import ops

from official.utils.errors import UserError
from official.utils.flags.settings import Settings, run_fractions
from official.utils.logs import console
from official.utils.training.adam import Adam
from official.utils.training.variables import named_variables


@keras.saving.register_keras_serializable(package="official")
class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate as a function of the step: a linear rise, then a decay.

    A constant rate is one too, so that checkpoints do not hold the rate, and a run may
    go on with another.
    """

    def __init__(
        self,
        name: str,
        peak: float,
        total_steps: int,
        warmup_steps: int,
        decay_points: Sequence[float] = (),
        decay_factor: float = 0.1,
    ):
        """Describes a schedule.

        Args:
            name: `constant`; `linear` or `cosine`, to 0 at `total_steps`;
                `exponential`, by a hundredth to `total_steps`; `inverse_sqrt`, peak *
                sqrt(warmup / step) (Vaswani et al. 2017); `one_cycle`, up to the peak
                over 30 % of the steps from a 25th of it and down to nothing by a cosine
                (Smith 2018); `step`, times `decay_factor` at each of `decay_points`.
            peak: the largest learning rate.
            total_steps: steps of the whole run.
            warmup_steps: steps of a linear rise from 0, within `total_steps`; not for
                `one_cycle`, which has its own.
            decay_points: fractions of `total_steps`, ascending; for `step`.
            decay_factor: for `step`.
        """
        super().__init__()
        self.name = name
        self.peak = peak
        self.total_steps = total_steps
        self.warmup_steps = warmup_steps
        self.decay_points = tuple(decay_points)
        self.decay_factor = decay_factor

    def __call__(self, step):
        """The learning rate of the update that follows `step` updates.

        Args:
            step: integer scalar, 0 for the first update.

        Returns:
            float32 scalar.
        """
        step = ops.cast(step, "float32")
        if self.name == "one_cycle":
            rise = max(1.0, 0.3 * self.total_steps)
            rising = _cosine(self.peak / 25, self.peak, step / rise)
            rest = max(1.0, self.total_steps - rise)
            falling = _cosine(self.peak, self.peak / 2.5e5, (step - rise) / rest)
            return ops.where(step < rise, rising, falling)
        # The first update is not wasted on a rate of 0.
        warm = ops.minimum(1.0, (step + 1.0) / max(1, self.warmup_steps))
        length = max(1, self.total_steps - self.warmup_steps)
        done = ops.clip((step - self.warmup_steps) / length, 0.0, 1.0)
        decay = {
            "constant": lambda: ops.ones_like(done),
            "linear": lambda: 1.0 - done,
            "cosine": lambda: _cosine(1.0, 0.0, done),
            "exponential": lambda: ops.exp(math.log(0.01) * done),
            "inverse_sqrt": lambda: ops.sqrt(
                max(1.0, self.warmup_steps)
                / ops.maximum(step + 1.0, max(1.0, self.warmup_steps))
            ),
            "step": lambda: self.decay_factor ** self._points_passed(step),
        }[self.name]()
        return self.peak * warm * decay

    def _points_passed(self, step):
        passed = ops.zeros_like(step)
        for point in self.decay_points:
            passed += ops.cast(step >= round(point * self.total_steps), "float32")
        return passed

    def get_config(self):
        """Arguments of the constructor."""
        return dict(
            name=self.name,
            peak=self.peak,
            total_steps=self.total_steps,
            warmup_steps=self.warmup_steps,
            decay_points=self.decay_points,
            decay_factor=self.decay_factor,
        )


def _cosine(start, end, fraction):
    fraction = ops.clip(fraction, 0.0, 1.0)
    return end + (start - end) * 0.5 * (1.0 + ops.cos(math.pi * fraction))


def schedule_steps(settings: Settings, steps_per_epoch: int) -> int:
    """The length of the learning rate's schedule, in steps: that of the whole run."""
    return settings.train_steps or settings.train_epochs * steps_per_epoch


def make_optimizer(settings: Settings, total_steps: int) -> keras.optimizers.Optimizer:
    """The optimizer that the flags describe.

    Args:
        settings: resolved flags of the training set.
        total_steps: steps of the whole run, for the schedule.

    Returns:
        An optimizer, not yet built.
    """
    if settings.optimizer == "ftrl" and settings.schedule != "constant":
        # A weight is made anew from the sum of all gradients, times the rate of now.
        console.warn(
            f"--optimizer=ftrl with --schedule={settings.schedule} takes all weights "
            "towards 0 as the learning rate falls; --schedule=constant does not"
        )
    common = dict(
        learning_rate=Schedule(
            settings.schedule,
            settings.learning_rate,
            total_steps,
            settings.warmup_steps or round(settings.warmup_fraction * total_steps),
            run_fractions(settings.decay_points),
            settings.decay_factor,
        ),
        weight_decay=settings.weight_decay or None,
        # The loop hands over the gradient of the whole batch, summed over replicas, so
        # that this is the norm of that.
        global_clipnorm=settings.clip_norm or None,
        use_ema=settings.ema_decay > 0,
        ema_momentum=settings.ema_decay or 0.99,
    )
    optimizers = keras.optimizers
    moments = dict(
        beta_1=settings.beta1, beta_2=settings.beta2, epsilon=settings.epsilon
    )
    make = {
        "sgd": lambda: optimizers.SGD(momentum=settings.momentum, **common),
        "adam": lambda: Adam(**moments, **common),
        # The weight decay is decoupled in either.
        "adamw": lambda: Adam(**moments, **common),
        "adagrad": lambda: optimizers.Adagrad(**common),
        "ftrl": lambda: optimizers.Ftrl(**common),
        "lamb": lambda: optimizers.Lamb(**moments, **common),
        "rmsprop": lambda: optimizers.RMSprop(momentum=settings.momentum, **common),
    }[settings.optimizer]
    optimizer = make()
    if settings.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    if settings.dtype != "fp16":
        return optimizer
    # Small gradients would be 0 in float16, so the loss is scaled up before them.
    if settings.loss_scale in (None, "dynamic"):
        return optimizers.LossScaleOptimizer(optimizer)
    optimizer.loss_scale_factor = float(settings.loss_scale)
    return optimizer


def scale_learning_rates(
    optimizer: keras.optimizers.Optimizer,
    model: keras.Model,
    scales: Mapping[str, float],
) -> None:
    """Gives variables learning rates of their own.

    Args:
        optimizer: built.
        model: the network.
        scales: what the learning rate is multiplied by, by structural name; 1 for
            variables that are not there.

    Raises:
        UserError: the optimizer is not Adam.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if not isinstance(inner, Adam):
        raise UserError(
            "learning rates by layer (--layer_decay) are for --optimizer=adam and adamw"
        )
    names = {id(variable): name for name, variable in named_variables(model).items()}
    inner.rate_scales = [
        scales.get(names[id(variable)], 1.0) for variable in model.trainable_variables
    ]


def describe_weight_decay(
    optimizer: keras.optimizers.Optimizer, variables: Mapping[str, keras.Variable]
) -> str:
    """Says which tensors the weight decay takes.

    Args:
        optimizer: with weight decay.
        variables: the network's, by structural name.

    Returns:
        One line; tensors are counted by the last part of their name.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    taken, spared = collections.Counter(), collections.Counter()
    num_weights = 0
    for name, variable in variables.items():
        if not variable.trainable:
            continue
        is_taken = inner._use_weight_decay(variable)
        (taken if is_taken else spared)[name.rpartition("/")[2]] += 1
        num_weights += math.prod(variable.shape) if is_taken else 0

    def listed(counts):
        return ", ".join(f"{number} {name}" for name, number in counts.items())

    return (
        f"weight decay {inner.weight_decay} takes {listed(taken) or 'nothing'} "
        f"({num_weights:,} weights) and leaves {listed(spared) or 'nothing'}"
    )
