from official.mnist import mnist
from official.utils.flags import core as flags_core

# The command line that users know. A flag that is renamed or lost fails here; a new
# one is added to the list, and to the shared layer's guidelines.md.
FLAGS = {
    "base": "batch_size clean data_dir dataset download epochs_between_evals "
    "eval_batch_size export_best export_dir mode model_dir recipe seed "
    "steps_between_evals stop_threshold train_epochs train_steps",
    "training": "average_checkpoints beta1 beta2 clip_norm decay_factor decay_points "
    "ema_decay epsilon "
    "gradient_accumulation_steps init_checkpoint learning_rate momentum optimizer "
    "schedule warmup_fraction warmup_steps weight_decay",
    "checkpoints": "checkpoint_seconds checkpoint_steps keep_checkpoints",
    "performance": "deterministic dtype enable_xla inter_op_parallelism_threads "
    "intra_op_parallelism_threads loss_scale max_train_steps num_parallel_calls "
    "profile_steps run_eagerly use_synthetic_data",
    "distribution": "all_reduce_alg distribution_strategy num_gpus num_packs "
    "num_virtual_cpus task_index tpu worker_hosts",
    "benchmark": "benchmark_log_dir benchmark_test_id log_steps",
    "mnist": "input invert",
}
SHORT_NAMES = (
    "ara bld bs bti dd ds dt ebe ed inter intra lr ls md mts ng npc st synth te"
)


def test_flags_are_frozen():
    found = flags_core.flags_by_set(mnist.define_flags())
    assert found == {name: sorted(text.split()) for name, text in FLAGS.items()}


def test_short_names_are_frozen():
    flag_values = mnist.define_flags()
    short_names = {flag_values[name].short_name for name in flag_values} - {None}
    assert sorted(short_names) == sorted(SHORT_NAMES.split())
