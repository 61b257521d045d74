"""Shared flags that boosted trees have no use for."""

from official.utils.flags.settings import Settings

_TREES = "trees are grown on all rows; --n_trees says how many"
_REASONS = {
    "train_epochs": _TREES,
    "train_steps": _TREES,
    "epochs_between_evals": "a step is a tree; --steps_between_evals counts them",
    "batch_size": "LightGBM sees all rows at once",
    "eval_batch_size": "LightGBM sees all rows at once",
    "dtype": "LightGBM computes in its own precision",
    "loss_scale": "LightGBM computes in its own precision",
    "num_parallel_calls": "--intra_op_parallelism_threads sets LightGBM's threads",
    "inter_op_parallelism_threads": "--intra_op_parallelism_threads sets LightGBM's "
    "threads",
    "use_synthetic_data": "--dataset=decay is made up",
    "run_eagerly": "LightGBM trains",
    "profile_steps": "LightGBM trains",
}


def reasons_of(settings: Settings) -> dict[str, str]:
    """Why each flag that can have no effect in this run has none."""
    reasons = dict(_REASONS)
    if settings.dataset != "csv":
        for name in ("train_file", "eval_file", "label_column", "categorical_columns"):
            reasons[name] = f"--dataset={settings.dataset} has its own files"
    if settings.dataset == "decay":
        reasons["data_dir"] = "--dataset=decay is made up"
    if not settings.machines:
        reasons["machine_index"] = "it goes with --machines"
    if settings.mode != "predict":
        reasons |= dict.fromkeys(("input", "output"), "it is for --mode=predict")
    if settings.boosting == "rf":
        reasons["learning_rate"] = "--boosting=rf has none"
    return reasons
