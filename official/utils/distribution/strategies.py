"""A tf.distribute strategy, and the settings of the whole process, from flags."""

import tensorflow as tf

from official.utils.errors import UserError
from official.utils.flags.core import Settings


def apply_process_settings(settings: Settings) -> None:
    """Applies threads, virtual devices and determinism.

    Args:
        settings: resolved flags.

    Raises:
        UserError: TensorFlow is already initialised with another value, or there are
            fewer GPUs than asked for. The message names the flag.
    """
    threading = tf.config.threading
    _apply(
        "inter_op_parallelism_threads",
        settings.inter_op_parallelism_threads,
        threading.get_inter_op_parallelism_threads(),
        threading.set_inter_op_parallelism_threads,
    )
    _apply(
        "intra_op_parallelism_threads",
        settings.intra_op_parallelism_threads,
        threading.get_intra_op_parallelism_threads(),
        threading.set_intra_op_parallelism_threads,
    )
    cpu = tf.config.list_physical_devices("CPU")[0]
    split = tf.config.get_logical_device_configuration(cpu)
    _apply(
        "num_virtual_cpus",
        settings.num_virtual_cpus,
        len(split) if split else 1,
        lambda number: tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration() for _ in range(number)]
        ),
    )
    gpus = tf.config.list_physical_devices("GPU")
    if settings.num_gpus > len(gpus):
        raise UserError(
            f"--num_gpus={settings.num_gpus}: this machine has {len(gpus)}; lower it, "
            "or leave it out to take all there are"
        )
    if settings.num_gpus >= 0:
        _apply(
            "num_gpus",
            settings.num_gpus,
            len(tf.config.get_visible_devices("GPU")),
            lambda number: tf.config.set_visible_devices(gpus[:number], "GPU"),
        )
    if settings.deterministic:
        tf.config.experimental.enable_op_determinism()


def _apply(flag: str, wanted: int, present: int, apply) -> None:
    if wanted == present:
        return
    try:
        apply(wanted)
    except RuntimeError:
        raise UserError(
            f"--{flag}={wanted}: TensorFlow has already started in this process with "
            f"{present}; set it in a fresh process, before anything is computed"
        ) from None


def check_supported(settings: Settings) -> None:
    """Checks that the run asks for nothing that the shared layer cannot do yet.

    Args:
        settings: resolved flags.

    Raises:
        UserError: it does; names the flag.
    """
    not_yet = {
        "distribution_strategy": settings.distribution_strategy
        in ("multi_worker_mirrored", "tpu"),
        "dtype": settings.dtype == "fp16",
        "profile_steps": settings.profile_steps,
        "download": settings.download,
    }
    for name, is_asked in not_yet.items():
        if is_asked:
            raise UserError(f"--{name}={settings[name]} is not supported yet")


def make_strategy(settings: Settings) -> tf.distribute.Strategy:
    """The strategy that the flags ask for.

    Args:
        settings: resolved flags, after `apply_process_settings`.

    Returns:
        A strategy; for `off` TensorFlow's default one, which has one replica.

    Raises:
        UserError: the devices or the settings do not allow it.
    """
    name = settings.distribution_strategy
    gpus = tf.config.list_logical_devices("GPU")
    devices = gpus or tf.config.list_logical_devices("CPU")
    if name == "off":
        if settings.num_gpus > 1:
            raise UserError(
                f"--num_gpus={settings.num_gpus} needs --distribution_strategy=mirrored"
            )
        return tf.distribute.get_strategy()
    if name == "one_device":
        if settings.num_gpus > 1:
            raise UserError(
                f"--num_gpus={settings.num_gpus}: one_device takes one; use "
                "--distribution_strategy=mirrored"
            )
        return tf.distribute.OneDeviceStrategy(devices[0].name)
    if name == "mirrored":
        return tf.distribute.MirroredStrategy(
            [device.name for device in devices],
            cross_device_ops=_cross_device_ops(settings),
        )
    raise AssertionError(name)


def _cross_device_ops(settings: Settings) -> tf.distribute.CrossDeviceOps | None:
    kinds = {
        "nccl": tf.distribute.NcclAllReduce,
        "hierarchical_copy": tf.distribute.HierarchicalCopyAllReduce,
    }
    if settings.all_reduce_alg is None:
        return None
    if settings.all_reduce_alg not in kinds:
        raise UserError(
            f"--all_reduce_alg={settings.all_reduce_alg} is for multi_worker_mirrored; "
            f"mirrored takes {' or '.join(kinds)}"
        )
    return kinds[settings.all_reduce_alg](num_packs=settings.num_packs)


def check_batch_size(settings: Settings, replicas: int) -> None:
    """Checks that a step's batch can be shared out evenly.

    Args:
        settings: resolved flags.
        replicas: replicas of the run.

    Raises:
        UserError: it cannot; names the nearest sizes that can.
    """
    pieces = replicas * settings.gradient_accumulation_steps
    batch_size = settings.batch_size
    if batch_size % pieces == 0:
        return
    below = batch_size // pieces * pieces
    nearest = [str(size) for size in (below, below + pieces) if size]
    parts = f"{replicas} replicas" if replicas > 1 else ""
    if settings.gradient_accumulation_steps > 1:
        parts += " x " if parts else ""
        parts += f"{settings.gradient_accumulation_steps} accumulation steps"
    raise UserError(
        f"--batch_size={batch_size} does not divide by {parts}; "
        f"{' and '.join(nearest)} {'do' if len(nearest) > 1 else 'does'}"
    )
