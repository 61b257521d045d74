"""The shared sets of flags.

Names and short aliases keep their meaning of 2019.
"""

from collections.abc import Sequence

from absl import flags

from official.utils.flags.definer import Definer
from official.utils.flags.settings import step_window
from official.utils.flags.training_set import UNSET, define_training

MODES = ("train_and_eval", "train", "eval", "predict", "export")
DTYPES = ("fp32", "bf16", "fp16", "auto")
STRATEGIES = ("off", "one_device", "mirrored", "multi_worker_mirrored", "tpu")
ALL_REDUCE_ALGORITHMS = ("nccl", "hierarchical_copy", "ring")

_REFUSED_STRATEGIES = {
    "parameter_server": "Keras 3 does not support it; use multi_worker_mirrored",
    "collective": "it is named multi_worker_mirrored now",
    "default": "say off, one_device or mirrored",
}


def define_base(
    flag_values: flags.FlagValues,
    datasets: Sequence[str],
    default_dataset: str,
    dataset_alias: str | None = None,
) -> None:
    """Defines what a run trains on, how long, and where it leaves its files."""
    define = Definer(flag_values, "base")
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
    define.choice("dataset", default_dataset, datasets, "The data set.", dataset_alias)
    define.boolean("download", False, "Allow fetching the data set into --data_dir.")
    define.choice("mode", "train_and_eval", MODES, "What to do.")
    define.integer(
        "train_epochs", None, f"Passes over the training set {UNSET}.", "te", low=1
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
        f"Epochs between two evaluations on validation data {UNSET}.",
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
        f"{UNSET}.",
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


def define_checkpoints(flag_values: flags.FlagValues) -> None:
    """Defines when checkpoints are written and how many stay."""
    define = Definer(flag_values, "checkpoints")
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
    define = Definer(flag_values, "performance")
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
        lambda text: text is None or step_window(text) is not None,
        "should be start,stop with 0 <= start < stop, as in 10,20",
        flag_values=flag_values,
    )


def define_distribution(flag_values: flags.FlagValues) -> None:
    """Defines the devices that a run uses."""
    define = Definer(flag_values, "distribution")
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
    define = Definer(flag_values, "benchmark")
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


def shared_flags(
    datasets: Sequence[str], default_dataset: str, dataset_alias: str | None = None
) -> flags.FlagValues:
    """All shared sets, for a main that trains by gradients.

    Args:
        datasets: names that `--dataset` takes.
        default_dataset: the embedded one, taken when no flag is given.
        dataset_alias: another name of that flag, where users know it by one.

    Returns:
        A new set of flags, to which the main adds its own.
    """
    flag_values = flags.FlagValues()
    define_base(flag_values, datasets, default_dataset, dataset_alias)
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
