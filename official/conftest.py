"""What every test process shares."""

import os
import sys

import pytest

from official.utils.app import TENSORFLOW_ENVIRONMENT

# Steps in the test's process are compared with those of mains.
for name, value in TENSORFLOW_ENVIRONMENT.items():
    os.environ.setdefault(name, value)

# Replicas that tests can have in process: TensorFlow takes the number only once.
NUM_VIRTUAL_CPUS = 3


@pytest.fixture(scope="session", autouse=True)
def virtual_cpus():
    """Splits the CPU before the first test starts TensorFlow.

    Tests that import no TensorFlow do not pay for it.
    """
    if "tensorflow" not in sys.modules:
        return
    import tensorflow as tf

    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration() for _ in range(NUM_VIRTUAL_CPUS)],
    )
