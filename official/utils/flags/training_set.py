"""The flags of the optimizer and of its schedule."""

from absl import flags

from official.utils.flags.definer import Definer
from official.utils.flags.settings import run_fractions

OPTIMIZERS = ("sgd", "adam", "adamw", "adagrad", "ftrl", "lamb", "rmsprop")
SCHEDULES = (
    "constant",
    "linear",
    "cosine",
    "exponential",
    "inverse_sqrt",
    "one_cycle",
    "step",
)

UNSET = "(default: that of the data set's recipe)"


def define_training(flag_values: flags.FlagValues) -> None:
    """Defines the optimizer and its schedule."""
    define = Definer(flag_values, "training")
    define.choice("optimizer", None, OPTIMIZERS, f"The optimizer {UNSET}.")
    define.number(
        "learning_rate",
        None,
        f"Learning rate at the schedule's peak {UNSET}.",
        "lr",
        low=0,
    )
    define.choice(
        "schedule",
        None,
        SCHEDULES,
        f"How the learning rate moves after the warm-up {UNSET}.",
    )
    define.integer(
        "warmup_steps",
        None,
        f"Steps over which the learning rate rises from 0 to its peak {UNSET}.",
        low=0,
    )
    define.number(
        "warmup_fraction",
        None,
        f"The same as a fraction of the run; --warmup_steps wins {UNSET}.",
        low=0,
        high=1,
    )
    define.string(
        "decay_points",
        None,
        "Points of the run, as fractions of it, at which the schedule `step` lowers "
        f"the learning rate {UNSET}.",
    )
    define.number(
        "decay_factor",
        None,
        f"What the schedule `step` multiplies the learning rate by {UNSET}.",
        low=0,
        high=1,
    )
    define.number(
        "momentum",
        None,
        f"Momentum of sgd and rmsprop {UNSET}.",
        low=0,
        high=1,
    )
    define.number(
        "beta1",
        None,
        f"Decay of the first moment of adam, adamw and lamb {UNSET}.",
        low=0,
        high=1,
    )
    define.number(
        "beta2",
        None,
        f"Decay of their second moment {UNSET}.",
        low=0,
        high=1,
    )
    define.number("epsilon", None, f"What their divisor is kept above {UNSET}.", low=0)
    define.number(
        "weight_decay",
        None,
        "Decoupled weight decay, times the learning rate; biases and normalisation "
        f"are left out {UNSET}.",
        low=0,
    )
    define.number(
        "clip_norm",
        None,
        f"Largest global norm of the gradient of the whole batch; 0 is off {UNSET}.",
        low=0,
    )
    define.number(
        "ema_decay",
        None,
        "Decay a step of the moving average of the weights that is evaluated and "
        f"exported; 0 is off {UNSET}.",
        low=0,
        high=0.999999,
    )
    define.integer(
        "average_checkpoints",
        None,
        "Evaluate and export the mean of the weights of so many checkpoints, the last "
        f"ones of those after each --checkpoint_steps; 0 is off {UNSET}.",
        low=0,
    )
    define.integer(
        "gradient_accumulation_steps",
        None,
        "Micro-batches that --batch_size is cut into: less memory, the same step "
        f"{UNSET}.",
        low=1,
    )
    define.string(
        "init_checkpoint",
        None,
        "Checkpoint (a file prefix, or a folder for its newest) to start the weights "
        "of the network from.",
    )
    flags.register_validator(
        "decay_points",
        lambda text: text is None or run_fractions(text) is not None,
        "should be ascending fractions of the run up to 1, as in 30/90,60/90,.9",
        flag_values=flag_values,
    )
