"""What the processors of this machine can do."""

import functools


@functools.cache
def has_bfloat16() -> bool:
    """Whether there are instructions that multiply bfloat16.

    That is: a TPU, a GPU of compute capability 8.0 (Ampere) or later, else a CPU with
    AVX-512 BF16, AMX or Arm's BF16 instructions.
    """
    # Layers ask this, and also run where there is no TensorFlow.
    import tensorflow as tf

    if tf.config.list_logical_devices("TPU"):
        return True
    gpus = tf.config.get_visible_devices("GPU")
    if gpus:
        details = tf.config.experimental.get_device_details(gpus[0])
        return details.get("compute_capability", (0, 0)) >= (8, 0)
    import cpuinfo  # Asks for a second's work, hence only here.

    instructions = set(cpuinfo.get_cpu_info().get("flags", ()))
    return bool(instructions & {"avx512_bf16", "amx_bf16", "bf16"})
