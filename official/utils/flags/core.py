"""The flags that all models share, and the getters that resolve them.

Each main makes its own `absl.flags.FlagValues`, so that several mains live in one
process (a notebook, a test). Names and short aliases keep their meaning of 2019.
guidelines.md beside this file says how a model uses them.
"""

import dataclasses
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from absl import flags

from official.utils.errors import UserError
from official.utils.recipes import Recipe, default_for

MODES = ("train_and_eval", "train", "eval", "predict", "export")
DTYPES = ("fp32", "bf16", "fp16", "auto")
STRATEGIES = ("off", "one_device", "mirrored", "multi_worker_mirrored", "tpu")
ALL_REDUCE_ALGORITHMS = ("nccl", "hierarchical_copy", "ring")
OPTIMIZERS = ("sgd", "adam", "adamw", "adagrad", "ftrl", "lamb", "rmsprop")
SCHEDULES = (
    "constant",
    "linear",
    "cosine",
    "exponential",
    "inverse_sqrt",
    "one_cycle",
)

_REFUSED_STRATEGIES = {
    "parameter_server": "Keras 3 does not support it; use multi_worker_mirrored",
    "collective": "it is named multi_worker_mirrored now",
    "default": "say off, one_device or mirrored",
}

# Where neither the command nor the data set's recipe says something.
_FALLBACKS: Mapping[str, Any] = {
    "train_epochs": 1,
    "epochs_between_evals": 1,
    "batch_size": 32,
    "optimizer": "sgd",
    "learning_rate": 0.01,
    "schedule": "constant",
    "warmup_steps": 0,
    "momentum": 0.9,
    "weight_decay": 0.0,
    "clip_norm": 0.0,
    "ema_decay": 0.0,
    "gradient_accumulation_steps": 1,
}
# Two ways to say one thing: a recipe's value for either gives way to the user's other.
_RIVALS = {
    "train_epochs": "train_steps",
    "train_steps": "train_epochs",
    "epochs_between_evals": "steps_between_evals",
    "steps_between_evals": "epochs_between_evals",
}
_PATHS = (
    "data_dir",
    "model_dir",
    "export_dir",
    "init_checkpoint",
    "benchmark_log_dir",
)
_UNSET = "(default: that of the data set's recipe)"


@dataclasses.dataclass(frozen=True)
class _Definer:
    """Defines flags of one set; the set is the heading under which help lists them."""

    flag_values: flags.FlagValues
    set_name: str

    def _keywords(self, short_name):
        return dict(
            short_name=short_name,
            flag_values=self.flag_values,
            module_name=self.set_name,
        )

    def boolean(self, name, default, help_text, short=None):
        flags.DEFINE_boolean(name, default, help_text, **self._keywords(short))

    def string(self, name, default, help_text, short=None):
        flags.DEFINE_string(name, default, help_text, **self._keywords(short))

    def integer(self, name, default, help_text, short=None, low=None, high=None):
        flags.DEFINE_integer(
            name,
            default,
            help_text,
            lower_bound=low,
            upper_bound=high,
            **self._keywords(short),
        )

    def number(self, name, default, help_text, short=None, low=None, high=None):
        flags.DEFINE(
            _NumberParser(low, high),
            name,
            default,
            help_text,
            serializer=flags.ArgumentSerializer(),
            **self._keywords(short),
        )

    def choice(self, name, default, values, help_text, short=None, refused=None):
        flags.DEFINE(
            _ChoiceParser(values, refused or {}),
            name,
            default,
            f"<{'|'.join(values)}>: {help_text}",
            serializer=flags.ArgumentSerializer(),
            **self._keywords(short),
        )


class _NumberParser(flags.FloatParser):
    """A number within bounds, neither infinite nor NaN."""

    def convert(self, argument: str) -> float:
        number = super().convert(argument)
        if not math.isfinite(number):
            raise ValueError("should be a finite number")
        return number


class _ChoiceParser(flags.ArgumentParser):
    """One of a few words; a refused word is answered with its reason."""

    def __init__(self, values: Sequence[str], refused: Mapping[str, str]):
        self._values = values
        self._refused = refused

    def parse(self, argument: str) -> str:
        if argument in self._refused:
            raise ValueError(f"refused: {self._refused[argument]}")
        if argument not in self._values:
            raise ValueError(f"should be one of {', '.join(self._values)}")
        return argument

    def flag_type(self) -> str:
        return "string enum"


def define_base(
    flag_values: flags.FlagValues, datasets: Sequence[str], default_dataset: str
) -> None:
    """Defines what a run trains on, how long, and where it leaves its files."""
    define = _Definer(flag_values, "base")
    define.string(
        "data_dir", None, "Folder of the data set's files; may be gs://.", "dd"
    )
    define.string(
        "model_dir",
        None,
        "Folder of the run's checkpoints, logs and results; a run goes on where the "
        "last one in the same folder stopped. Default: a new folder under runs/.",
        "md",
    )
    define.boolean("clean", False, "Delete what an earlier run left in --model_dir.")
    define.choice("dataset", default_dataset, datasets, "The data set.")
    define.boolean("download", False, "Allow fetching the data set into --data_dir.")
    define.choice("mode", "train_and_eval", MODES, "What to do.")
    define.integer(
        "train_epochs", None, f"Passes over the training set {_UNSET}.", "te", low=1
    )
    define.integer(
        "train_steps",
        None,
        "Optimizer steps to train for; wins over --train_epochs.",
        low=1,
    )
    define.integer(
        "epochs_between_evals",
        None,
        f"Epochs between two evaluations on validation data {_UNSET}.",
        "ebe",
        low=1,
    )
    define.integer(
        "steps_between_evals",
        None,
        "Steps between two evaluations; wins over --epochs_between_evals.",
        low=1,
    )
    define.number(
        "stop_threshold",
        None,
        "Stop training once the validation metric is at least this good.",
        "st",
    )
    define.integer(
        "batch_size",
        None,
        "Examples a step, over all replicas and accumulated micro-batches (global) "
        f"{_UNSET}.",
        "bs",
        low=1,
    )
    define.integer(
        "eval_batch_size",
        None,
        "Examples an evaluation step, over all replicas. Default: --batch_size.",
        low=1,
    )
    define.integer(
        "seed",
        0,
        "Seed of weights, data order, splits and dropout.",
        low=0,
        high=2**31 - 1,
    )
    define.string(
        "export_dir",
        None,
        "Folder of the SavedModel. Default: saved_model in --model_dir.",
        "ed",
    )
    define.boolean(
        "export_best",
        False,
        "Evaluate and export the weights that were best on validation data instead "
        "of the last ones.",
    )
    define.string(
        "recipe",
        None,
        "Take the flags of this recipe; flags beside it win. `official list` lists "
        "them.",
    )


def define_training(flag_values: flags.FlagValues) -> None:
    """Defines the optimizer and its schedule."""
    define = _Definer(flag_values, "training")
    define.choice("optimizer", None, OPTIMIZERS, f"The optimizer {_UNSET}.")
    define.number(
        "learning_rate",
        None,
        f"Learning rate at the schedule's peak {_UNSET}.",
        "lr",
        low=0,
    )
    define.choice(
        "schedule",
        None,
        SCHEDULES,
        f"How the learning rate moves after the warm-up {_UNSET}.",
    )
    define.integer(
        "warmup_steps",
        None,
        f"Steps over which the learning rate rises from 0 to its peak {_UNSET}.",
        low=0,
    )
    define.number(
        "momentum",
        None,
        f"Momentum of sgd and rmsprop {_UNSET}.",
        low=0,
        high=1,
    )
    define.number(
        "weight_decay",
        None,
        "Decoupled weight decay, times the learning rate; biases and normalisation "
        f"are left out {_UNSET}.",
        low=0,
    )
    define.number(
        "clip_norm",
        None,
        f"Largest global norm of the gradient of the whole batch; 0 is off {_UNSET}.",
        low=0,
    )
    define.number(
        "ema_decay",
        None,
        "Decay a step of the moving average of the weights that is evaluated and "
        f"exported; 0 is off {_UNSET}.",
        low=0,
        high=1,
    )
    define.integer(
        "gradient_accumulation_steps",
        None,
        "Micro-batches that --batch_size is cut into: less memory, the same step "
        f"{_UNSET}.",
        low=1,
    )
    define.string(
        "init_checkpoint",
        None,
        "Checkpoint (a file prefix, or a folder for its newest) to start the weights "
        "of the network from.",
    )


def define_checkpoints(flag_values: flags.FlagValues) -> None:
    """Defines when checkpoints are written and how many stay."""
    define = _Definer(flag_values, "checkpoints")
    define.integer("checkpoint_steps", None, "Steps between checkpoints.", low=1)
    define.integer(
        "checkpoint_seconds", 600, "Seconds between checkpoints; 0 is off.", low=0
    )
    define.integer(
        "keep_checkpoints",
        3,
        "How many of the last checkpoints stay, beside the best one.",
        low=1,
    )


def define_performance(flag_values: flags.FlagValues) -> None:
    """Defines precision, threads, and runs that measure speed."""
    define = _Definer(flag_values, "performance")
    define.choice(
        "dtype",
        "fp32",
        DTYPES,
        "Precision of the arithmetic; weights stay in fp32. auto: bf16 where the "
        "hardware multiplies it natively, else fp32.",
        "dt",
    )
    define.string(
        "loss_scale",
        None,
        "Loss scale of fp16: a positive number or `dynamic` (the default).",
        "ls",
    )
    define.boolean("enable_xla", False, "Compile forward and backward pass by XLA.")
    define.integer(
        "num_parallel_calls",
        None,
        "Input elements prepared at a time. Default: the number of CPU cores.",
        "npc",
        low=1,
    )
    define.boolean(
        "use_synthetic_data",
        False,
        "Train on made-up data of the data set's shapes, to measure speed alone.",
        "synth",
    )
    define.integer(
        "max_train_steps",
        None,
        "Stop after this many steps although the schedule is that of the full run.",
        "mts",
        low=1,
    )
    define.integer(
        "inter_op_parallelism_threads",
        0,
        "Threads that run operations side by side; 0 leaves it to TensorFlow.",
        "inter",
        low=0,
    )
    define.integer(
        "intra_op_parallelism_threads",
        0,
        "Threads within an operation; 0 leaves it to TensorFlow.",
        "intra",
        low=0,
    )
    define.boolean(
        "deterministic", False, "The same run gives the same weights to the last bit."
    )
    define.boolean(
        "run_eagerly", False, "Run step by step without tf.function, to debug."
    )
    define.string(
        "profile_steps",
        None,
        "`start,stop`: write a TensorFlow profile of these steps to train/.",
    )

    def is_loss_scale(text):
        if text is None or text == "dynamic":
            return True
        try:
            return float(text) > 0
        except ValueError:
            return False

    flags.register_validator(
        "loss_scale",
        is_loss_scale,
        "should be a positive number or dynamic",
        flag_values=flag_values,
    )
    flags.register_validator(
        "profile_steps",
        lambda text: text is None or _step_window(text) is not None,
        "should be start,stop with 0 <= start < stop, as in 10,20",
        flag_values=flag_values,
    )


def define_distribution(flag_values: flags.FlagValues) -> None:
    """Defines the devices that a run uses."""
    define = _Definer(flag_values, "distribution")
    define.choice(
        "distribution_strategy",
        "off",
        STRATEGIES,
        "How replicas are spread. off: the first device.",
        "ds",
        refused=_REFUSED_STRATEGIES,
    )
    define.integer(
        "num_gpus",
        -1,
        "GPUs to use; -1 takes all there are, maybe none.",
        "ng",
        low=-1,
    )
    define.choice(
        "all_reduce_alg",
        None,
        ALL_REDUCE_ALGORITHMS,
        "How gradients are summed over replicas. Default: TensorFlow's choice.",
        "ara",
    )
    define.integer(
        "num_packs", 1, "Packs that gradients are summed in by mirrored.", low=0
    )
    define.string("worker_hosts", None, "Comma-separated host:port of all workers.")
    define.integer("task_index", -1, "Index of this worker in --worker_hosts.", low=-1)
    define.string("tpu", None, "Name or address of the TPU; `local` for a TPU VM.")
    define.integer(
        "num_virtual_cpus",
        1,
        "Devices the CPU is split into: several replicas without a GPU.",
        low=1,
    )


def define_benchmark(flag_values: flags.FlagValues) -> None:
    """Defines where benchmark logs go."""
    define = _Definer(flag_values, "benchmark")
    define.string(
        "benchmark_log_dir",
        None,
        "Folder of benchmark_run.log and metric.log. Default: --model_dir.",
        "bld",
    )
    define.string(
        "benchmark_test_id", None, "Free text that marks the run in its record.", "bti"
    )
    define.integer("log_steps", 100, "Steps between two lines of metric.log.", low=1)


def shared_flags(datasets: Sequence[str], default_dataset: str) -> flags.FlagValues:
    """All shared sets, for a main that trains by gradients.

    Args:
        datasets: names that `--dataset` takes.
        default_dataset: the embedded one, taken when no flag is given.

    Returns:
        A new set of flags, to which the main adds its own.
    """
    flag_values = flags.FlagValues()
    define_base(flag_values, datasets, default_dataset)
    define_training(flag_values)
    define_checkpoints(flag_values)
    define_performance(flag_values)
    define_distribution(flag_values)
    define_benchmark(flag_values)
    return flag_values


def flags_by_set(flag_values: flags.FlagValues) -> dict[str, list[str]]:
    """Names of all flags, sorted, by the set they belong to."""
    return {
        set_name: sorted(flag.name for flag in members)
        for set_name, members in flag_values.flags_by_module_dict().items()
    }


class Settings(Mapping[str, Any]):
    """The resolved value of every flag, as attributes; nothing changes them."""

    def __init__(
        self,
        values: Mapping[str, Any],
        given: frozenset[str],
        changed: frozenset[str],
        defaults: Mapping[str, Any],
    ):
        """Wraps values.

        Args:
            values: by flag name.
            given: flags that the user set.
            changed: those of them that are not set to their default.
            defaults: values of flags that nobody set.
        """
        self.__dict__.update(
            _values=dict(values),
            given=given,
            changed=changed,
            defaults=dict(defaults),
        )

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_values"][name]
        except KeyError:
            raise AttributeError(f"no flag is named {name}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"settings are read-only; {name} stays as it is")

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def resolve(
    flag_values: flags.FlagValues,
    recipes: Sequence[Recipe],
    recorded: Mapping[str, str] | None = None,
) -> Settings:
    """Resolves every flag: the user's word, then the recipe, then the default.

    Args:
        flag_values: the parsed flags; they are not changed.
        recipes: the main's recipes.
        recorded: flags of an earlier run (`read_flags_file`) whose model is now
            evaluated, used to predict, or exported; they come before the recipe's.

    Returns:
        The settings of the run.

    Raises:
        UserError: a recorded flag has a value that it does not take.
    """
    given = frozenset(
        name for name in flag_values if not flag_values[name].using_default_value
    )
    values = {name: flag_values[name].value for name in flag_values}
    short_names = {flag_values[name].short_name for name in flag_values}
    for name in short_names & values.keys():
        del values[name]
    parsed = {}
    for name, text in (recorded or {}).items():
        if name in values and name not in given:
            try:
                parsed[name] = flag_values[name].parser.parse(text)
            except ValueError as error:
                raise UserError(
                    f"flags.txt in --model_dir={values['model_dir']} has "
                    f"--{name}={text}: {error}; mend or remove that line"
                ) from None
    values.update(parsed)
    recipe = default_for(recipes, values["dataset"]) if "dataset" in values else None
    for name, value in recipe.flags.items() if recipe else ():
        if not {name, _RIVALS.get(name)} & (given | parsed.keys()):
            values[name] = flag_values[name].parser.parse(str(value))
    for name, value in _FALLBACKS.items():
        if name in values and values[name] is None:
            values[name] = value
    # The shell leaves the ~ of --data_dir=~/mnist as it is.
    for name in _PATHS:
        if values.get(name):
            values[name] = os.path.expanduser(values[name])
    changed = {
        name for name in given if flag_values[name].value != flag_values[name].default
    }
    defaults = {name: flag_values[name].default for name in values}
    return Settings(values, given, frozenset(changed), defaults)


# What flags.txt leaves out: where the run is, and what is already resolved.
_NOT_RECORDED = ("model_dir", "clean", "recipe")


def flags_file_text(settings: Settings) -> str:
    """The resolved flags as the text of an absl flag file."""
    lines = [
        f"--{name}={str(value).lower() if isinstance(value, bool) else value}"
        for name, value in sorted(settings.items())
        if name not in _NOT_RECORDED and value is not None
    ]
    return "\n".join(lines) + "\n"


def read_flags_file(text: str) -> dict[str, str]:
    """Flags and their values as text, from the text of a `flags.txt`."""
    pairs = (line[2:].partition("=") for line in text.splitlines() if line[:2] == "--")
    return {name: value for name, _, value in pairs}


def _step_window(text: str) -> tuple[int, int] | None:
    start, _, stop = text.partition(",")
    try:
        window = int(start), int(stop)
    except ValueError:
        return None
    return window if 0 <= window[0] < window[1] else None


def profile_window(settings: Settings) -> tuple[int, int] | None:
    """First and last step of `--profile_steps`, or None."""
    return _step_window(settings.profile_steps) if settings.profile_steps else None


def make_flags(
    define_flags: Callable[[], flags.FlagValues],
    recipes: Sequence[Recipe] = (),
    **values: Any,
) -> flags.FlagValues:
    """Flags for a `run` called from a notebook or a test.

    Args:
        define_flags: that of the main.
        recipes: what `recipe` may name.
        **values: flag names and values, as `train_epochs=2`.

    Returns:
        Parsed flags.

    Raises:
        UserError: no such flag, or a value it does not take.
    """
    return parse(
        define_flags(),
        [f"--{name}={value}" for name, value in values.items() if value is not None],
        recipes,
    )


def parse(
    flag_values: flags.FlagValues, arguments: Sequence[str], recipes: Sequence[Recipe]
) -> flags.FlagValues:
    """Parses a command line, with flag files and `--recipe` expanded first.

    Args:
        flag_values: the flags of a main; they take the parsed values.
        arguments: the command line without the program's name.
        recipes: what `--recipe` may name.

    Returns:
        `flag_values`.

    Raises:
        UserError: an unknown flag, a bad value, a stray argument, an unknown recipe or
            a flag file that cannot be read.
    """
    try:
        expanded = flag_values.read_flags_from_files(list(arguments))
        recipe_name = _recipe_name(expanded)
        if recipe_name is not None:
            known = {recipe.name: recipe for recipe in recipes}
            if recipe_name not in known:
                raise UserError(
                    f"--recipe={recipe_name} is unknown; this main has "
                    f"{', '.join(known) or 'none'}"
                )
            # Before the user's flags, so that those win.
            rivals = {_RIVALS.get(_flag_name(argument)) for argument in expanded}
            expanded = [
                argument
                for argument in known[recipe_name].arguments()
                if _flag_name(argument) not in rivals
            ] + expanded
        stray = flag_values(["main", *expanded])[1:]
    except flags.Error as error:
        raise UserError(_plain_message(error)) from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"--flagfile cannot be read: it is no text ({error}); name a text file "
            "with one --name=value a line"
        ) from None
    if stray:
        raise UserError(
            f"stray argument {stray[0]!r}: flags are written --name=value"
            + (f", here --{stray[0]}" if "=" in stray[0] else "")
        )
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name.startswith("-") and equals and not value:
            raise UserError(f"{name}= has no value; give one, or leave the flag out")
    return flag_values


def _plain_message(error: flags.Error) -> str:
    """What absl says of a flag, on one line and with a remedy."""
    message = " ".join(str(error).split())
    if message.startswith("ERROR:: Unable to open flagfile: "):
        reason = message.partition("flagfile: ")[2]
        return f"--flagfile cannot be read ({reason}); check the path"
    if "Non-boolean argument" in message:
        return f"{message.partition(': (')[0]}: should be true or false"
    if message.startswith("Unknown command line flag"):
        return f"{message.removesuffix(' ?')}; --help lists the flags"
    return message


def _flag_name(argument: str) -> str:
    return argument.lstrip("-").partition("=")[0]


def _recipe_name(arguments: Sequence[str]) -> str | None:
    name = None
    for position, argument in enumerate(arguments):
        if argument in ("--recipe", "-recipe"):
            name = arguments[position + 1] if position + 1 < len(arguments) else None
        elif argument.startswith(("--recipe=", "-recipe=")):
            name = argument.partition("=")[2]
    return name
