import numpy as np
import pytest

from official.mnist import mnist, recipes
from official.mnist.task import MnistTask
from official.utils.flags import core as flags_core
from official.utils.testing.tasks import assert_step_compiles, make_loop
from official.utils.training import precision


def make_task(**flags):
    flag_values = flags_core.make_flags(mnist.define_flags, recipes.RECIPES, **flags)
    task = MnistTask(flags_core.resolve(flag_values, recipes.RECIPES))
    task.load()
    return task


def losses(steps=20, replicas=1, **flags):
    task = make_task(**flags)
    loop = make_loop(task, replicas, total_steps=steps)
    return loop.train(loop.batches(task.training_stream(), 0), 0, steps)["loss"]


def test_step_compiles_with_static_shapes():
    assert_step_compiles(make_task(enable_xla=True))


@pytest.mark.parametrize("replicas", [1, 2])
def test_xla_follows_the_losses_without_it(replicas):
    plain = losses(replicas=replicas)
    compiled = losses(replicas=replicas, enable_xla=True)
    assert plain[-1] < 0.8 * plain[0]
    np.testing.assert_allclose(compiled, plain, rtol=1e-3)


def test_first_losses_are_pinned():
    """A change of network, optimizer, data order or dropout shows here."""
    np.testing.assert_allclose(
        losses(steps=3), [2.312518, 2.306504, 2.178689], rtol=1e-4
    )


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_reduced_precision_follows_fp32(dtype):
    exact = losses()
    with precision.policy(dtype):
        reduced = losses(dtype=dtype)
    np.testing.assert_allclose(reduced, exact, rtol=0.1)


def test_synthetic_data_has_the_sizes_of_the_real():
    real, made = make_task(), make_task(use_synthetic_data=True)
    for split in ("validation", "test"):
        assert real.evaluation_stream(split).num_batches(1) == (
            made.evaluation_stream(split).num_batches(1)
        )
    assert "made-up" in made.load()
