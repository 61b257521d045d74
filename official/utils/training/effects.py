"""Flags that a run has no use for, and flags that changed since it began."""

from collections.abc import Mapping

from official.utils.flags.settings import Settings
from official.utils.logs import console

# Flag: when it has no effect, and why. Looked at where a flag is not at its default.
_NO_EFFECT = {
    "momentum": (
        lambda s: s.optimizer not in ("sgd", "rmsprop"),
        "--optimizer={optimizer} has none",
    ),
    **{
        name: (
            lambda s: s.optimizer not in ("adam", "adamw", "lamb"),
            "--optimizer={optimizer} has none",
        )
        for name in ("beta1", "beta2", "epsilon")
    },
    "warmup_fraction": (lambda s: s.warmup_steps, "--warmup_steps wins"),
    "train_epochs": (lambda s: s.train_steps, "--train_steps wins"),
    "epochs_between_evals": (
        lambda s: s.steps_between_evals,
        "--steps_between_evals wins",
    ),
    "warmup_steps": (
        lambda s: s.schedule == "one_cycle",
        "one_cycle has a warm-up of its own",
    ),
    **{
        name: (
            lambda s: s.schedule != "step",
            "--schedule={schedule} has no steps; it is for step",
        )
        for name in ("decay_points", "decay_factor")
    },
    "loss_scale": (lambda s: s.dtype != "fp16", "it is for --dtype=fp16"),
    "all_reduce_alg": (
        lambda s: s.distribution_strategy in ("off", "one_device"),
        "there is one replica",
    ),
    "num_packs": (
        lambda s: s.all_reduce_alg is None or s.distribution_strategy != "mirrored",
        "it goes with --all_reduce_alg of mirrored",
    ),
    "num_virtual_cpus": (
        lambda s: s.distribution_strategy != "mirrored",
        "--distribution_strategy={distribution_strategy} uses the first CPU",
    ),
    **{
        name: (
            lambda s: s.distribution_strategy != "multi_worker_mirrored",
            "it is for --distribution_strategy=multi_worker_mirrored",
        )
        for name in ("worker_hosts", "task_index")
    },
    "tpu": (
        lambda s: s.distribution_strategy != "tpu",
        "it is for --distribution_strategy=tpu",
    ),
    "export_dir": (
        lambda s: s.mode not in ("train_and_eval", "export"),
        "--mode={mode} exports nothing",
    ),
    # The embedded set is every main's default.
    "download": (
        lambda s: s.dataset == s.defaults["dataset"] or s.mode in ("predict", "export"),
        "this run reads no data set that is fetched",
    ),
    "clean": (
        lambda s: not s.mode.startswith("train"),
        "--mode={mode} leaves the folder as it is",
    ),
}


def warn_of_flags_without_effect(
    settings: Settings, reasons: Mapping[str, str] | None = None
) -> None:
    """Warns once of each given flag that can have no effect in this run.

    Args:
        settings: resolved flags.
        reasons: for flags that have none in this model, why.
    """
    for name, (is_idle, reason) in _NO_EFFECT.items():
        if name in settings.changed and is_idle(settings):
            console.warn(f"--{name} has no effect: {reason.format(**settings)}")
    for name, reason in (reasons or {}).items():
        if name in settings.changed:
            console.warn(f"--{name} has no effect: {reason}")


# Flags that may change between two parts of a run without a word.
_FREE = (
    "mode benchmark_log_dir benchmark_test_id log_steps checkpoint_steps "
    "checkpoint_seconds keep_checkpoints export_dir data_dir download "
    "num_parallel_calls max_train_steps worker_hosts task_index"
).split()


def warn_of_changed_flags(recorded: Mapping[str, str], settings: Settings) -> None:
    """Warns of flags whose value is not the one that the run began with.

    Args:
        recorded: flags of the run so far, as text.
        settings: flags of the run that goes on.
    """
    for name, value in settings.items():
        now = str(value).lower() if isinstance(value, bool) else str(value)
        before = recorded.get(name, "None")
        if name in _FREE or name in ("model_dir", "clean", "recipe") or now == before:
            continue
        if recorded:
            console.warn(f"--{name} was {before} when this run began and is {now} now")
