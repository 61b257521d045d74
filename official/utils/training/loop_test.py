import keras
import numpy as np
import pytest
import tensorflow as tf

from official.utils.data.streams import Share
from official.utils.layers.batch_normalization import BatchNormalization
from official.utils.layers.dropout import Dropout
from official.utils.testing.tasks import RowsTask, make_loop, settings
from official.utils.training import precision
from official.utils.training.task import Loss


def losses(steps=50, replicas=1, network=None, calls=1, **flags):
    task = RowsTask(settings(**flags), network)
    loop = make_loop(task, replicas)
    batches = loop.batches(task.training_stream(), 0)
    history = [
        loop.train(batches, i * steps // calls, steps // calls)["loss"]
        for i in range(calls)
    ]
    return np.concatenate(history), loop


TRAINING = dict(
    batch_size=48,
    optimizer="sgd",
    momentum=0.9,
    learning_rate=0.3,
    schedule="cosine",
    warmup_steps=5,
    weight_decay=0.01,
)


@pytest.mark.parametrize("replicas", [2, 3])
@pytest.mark.parametrize("clip_norm", [0, 0.05])
def test_replicas_follow_one_device(replicas, clip_norm):
    one, _ = losses(**TRAINING, clip_norm=clip_norm)
    several, _ = losses(replicas=replicas, **TRAINING, clip_norm=clip_norm)
    assert one[-1] < 0.8 * one[0]
    np.testing.assert_allclose(several, one, rtol=1e-4)


def test_clip_norm_is_that_of_the_whole_batch():
    free, _ = losses(**TRAINING)
    clipped, _ = losses(**TRAINING, clip_norm=0.05)
    assert np.abs(free[1:] - clipped[1:]).max() > 1e-3


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_accumulation_equals_one_batch(replicas, optimizer):
    flags = dict(batch_size=32, optimizer=optimizer, learning_rate=0.05, clip_norm=1)
    whole, _ = losses(replicas=replicas, **flags)
    pieces, _ = losses(replicas=replicas, gradient_accumulation_steps=4, **flags)
    np.testing.assert_allclose(pieces, whole, rtol=1e-5)


def test_number_of_steps_a_call_changes_nothing():
    one_call, _ = losses(**TRAINING)
    ten_calls, _ = losses(calls=10, **TRAINING)
    np.testing.assert_array_equal(one_call, ten_calls)


def test_eager_and_xla_agree_with_the_graph():
    graph, _ = losses(steps=5, **TRAINING)
    eager, _ = losses(steps=5, run_eagerly=True, **TRAINING)
    compiled, _ = losses(steps=5, enable_xla=True, **TRAINING)
    compiled_twice, _ = losses(steps=5, enable_xla=True, replicas=2, **TRAINING)
    np.testing.assert_allclose(eager, graph, rtol=1e-5)
    np.testing.assert_allclose(compiled, graph, rtol=1e-5)
    np.testing.assert_allclose(compiled_twice, graph, rtol=1e-5)


def test_weight_regularisers_add_their_gradient_once():
    def network(inputs):
        return keras.layers.Dense(4, kernel_regularizer=keras.regularizers.L2(0.1))(
            inputs
        )

    flags = dict(batch_size=32, learning_rate=0.1)
    one, _ = losses(network=network, **flags)
    two, _ = losses(network=network, replicas=2, **flags)
    pieces, _ = losses(network=network, gradient_accumulation_steps=4, **flags)
    np.testing.assert_allclose(two, one, rtol=1e-5)
    np.testing.assert_allclose(pieces, one, rtol=1e-5)

    # The first step by hand: loss = cross entropy + 0.1 * sum of squares.
    task = RowsTask(settings(**flags), network)
    loop = make_loop(task)
    kernel = loop.model.trainable_variables[0].numpy()
    batch = next(loop.batches(task.training_stream(), 0))
    logits = loop.model(batch["values"]).numpy().astype(np.float64)
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    probabilities = exponentials / exponentials.sum(-1, keepdims=True)
    cross_entropy = -np.log(probabilities[np.arange(32), batch["label"]]).mean()
    assert one[0] == pytest.approx(cross_entropy + 0.1 * (kernel**2).sum(), rel=1e-5)


@pytest.mark.parametrize("replicas", [2, 3])
def test_batch_norm_statistics_are_the_mean_over_replicas(replicas):
    """Against statistics that each replica keeps by itself, followed in NumPy."""
    momentum = 0.9

    def network(inputs):
        x = keras.layers.BatchNormalization(momentum=momentum)(inputs)
        return keras.layers.Dense(4)(x)

    flags = dict(batch_size=24, learning_rate=0.1)
    _, loop = losses(steps=7, replicas=replicas, network=network, **flags)
    stream = RowsTask(settings(**flags)).training_stream()
    mean = np.zeros((replicas, 12))
    variance = np.ones((replicas, 12))
    elements = stream.dataset(0, Share(replicas, 0, replicas)).take(7 * replicas)
    for element, batch in enumerate(elements.as_numpy_iterator()):
        replica = element % replicas
        values = batch["values"].astype(np.float64)
        mean[replica] += (1 - momentum) * (values.mean(0) - mean[replica])
        variance[replica] += (1 - momentum) * (values.var(0) - variance[replica])
    named = {v.name: v for v in loop.model.non_trainable_variables}
    for name, expected in (("moving_mean", mean), ("moving_variance", variance)):
        copies = named[name].value.values
        assert len(copies) == replicas
        for copy in copies:
            np.testing.assert_allclose(copy, expected.mean(0), rtol=1e-4, atol=1e-5)
    assert np.abs(mean[0] - mean[1]).max() > 1e-3  # Else the test could not fail.


@pytest.mark.parametrize("xla", [False, True])
def test_fused_batch_norm_trains_on_replicas(xla):
    def network(inputs):
        x = keras.layers.Reshape((2, 2, 3))(inputs)
        x = keras.layers.Flatten()(BatchNormalization(momentum=0.9)(x))
        return keras.layers.Dense(4)(x)

    flags = dict(batch_size=24, learning_rate=0.1, enable_xla=xla)
    history, loop = losses(steps=30, replicas=2, network=network, **flags)
    assert history[-5:].mean() < history[0]
    moving_mean = loop.model.non_trainable_variables[0].value.values
    np.testing.assert_array_equal(moving_mean[0], moving_mean[1])


@pytest.mark.parametrize("num_test", [97, 5, 1])
def test_evaluation_counts_every_example_once(num_test):
    found = []
    for replicas in (1, 2, 3):
        task = RowsTask(settings(batch_size=16), num_test=num_test)
        loop = make_loop(task, replicas)
        found.append(loop.evaluate(task.evaluation_stream("test")))
        rows = task._rows["test"]
        logits = loop.model(rows["values"]).numpy()
        accuracy = (logits.argmax(-1) == rows["label"]).mean()
        assert found[-1]["accuracy"] == pytest.approx(accuracy, abs=1e-9)
    for other in found[1:]:
        assert other["accuracy"] == pytest.approx(found[0]["accuracy"], abs=1e-9)
        assert other["loss"] == pytest.approx(found[0]["loss"], rel=1e-6)


def dropout_masks(replicas, steps=3, start=0, pieces=1, seed=0):
    """Masks [steps, batch, 64] that a loop's forward passes draw."""
    masks = {}

    class Recorder(keras.layers.Layer):
        def call(self, inputs):
            return inputs

    class MaskTask(RowsTask):
        def build_model(self):
            inputs = keras.Input((12,))
            x = keras.layers.Dense(4)(inputs)
            ones = keras.layers.Lambda(lambda t: tf.ones([tf.shape(t)[0], 64]))(x)
            return keras.Model(inputs, [x, Dropout(0.5)(ones), Dropout(0.5)(ones)])

        def loss(self, model, batch, training):
            x, first, second = model(batch["values"], training=training)
            position = tf.distribute.get_replica_context().replica_id_in_sync_group

            def note(first, second, replica):
                masks.setdefault(int(replica), []).append((first, second))
                return np.float32(0)

            zero = tf.numpy_function(note, [first, second, position], tf.float32)
            return Loss(tf.reduce_sum(x) * 0 + zero, tf.constant(1.0))

    task = MaskTask(
        settings(batch_size=12, seed=seed, gradient_accumulation_steps=pieces)
    )
    loop = make_loop(task, replicas)
    loop.train(loop.batches(task.training_stream(), start), start, steps)
    return {replica: np.array(found) for replica, found in masks.items()}


def test_dropout_is_a_function_of_seed_step_replica_and_layer():
    masks = dropout_masks(replicas=1)[0]  # [steps, layer, rows, 64]
    assert set(np.unique(masks)) == {0.0, 2.0}
    assert 0.45 < (masks == 0).mean() < 0.55
    assert (masks[0] != masks[1]).mean() > 0.4  # Steps differ,
    assert (masks[:, 0] != masks[:, 1]).mean() > 0.4  # layers differ,
    assert (masks != dropout_masks(replicas=1, seed=1)[0]).mean() > 0.4  # seeds too.
    np.testing.assert_array_equal(masks, dropout_masks(replicas=1)[0])
    # A resume at step 2 draws what step 2 drew.
    np.testing.assert_array_equal(masks[2:], dropout_masks(1, steps=1, start=2)[0])
    replicas = dropout_masks(replicas=2)
    assert (replicas[0] != replicas[1]).mean() > 0.4
    pieces = dropout_masks(replicas=1, pieces=2)[0]
    assert (pieces[0] != pieces[1]).mean() > 0.4


def test_moving_average_of_weights_follows_its_formula():
    flags = dict(batch_size=32, learning_rate=0.1, ema_decay=0.5, momentum=0.0)
    _, loop = losses(steps=1, **flags)
    first = loop.model.trainable_variables[0].numpy()
    _, loop = losses(steps=2, **flags)
    second = loop.model.trainable_variables[0].numpy()
    loop.optimizer.finalize_variable_values(loop.model.trainable_variables)
    averaged = loop.model.trainable_variables[0].numpy()
    # The first update starts the average.
    np.testing.assert_allclose(averaged, 0.5 * first + 0.5 * second, rtol=1e-6)


@pytest.mark.parametrize("loss_scale", ["dynamic", "1024"])
@pytest.mark.parametrize("replicas", [1, 2])
def test_fp16_follows_fp32(loss_scale, replicas):
    exact, _ = losses(**TRAINING)
    with precision.policy("fp16"):
        half, loop = losses(
            dtype="fp16", loss_scale=loss_scale, replicas=replicas, **TRAINING
        )
    np.testing.assert_allclose(half, exact, rtol=2e-2)
    assert loop.model.layers[-1].compute_dtype == "float16"


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("xla", [False, True])
def test_an_overflow_halves_the_loss_scale_and_skips_the_step(replicas, xla):
    with precision.policy("fp16"):
        task = RowsTask(settings(dtype="fp16", batch_size=32, enable_xla=xla))
        loop = make_loop(task, replicas)
        batches = loop.batches(task.training_stream(), 0)
        loop.train(batches, 0, 3)
        weights = [v.numpy() for v in loop.model.trainable_variables]
        updates = int(loop.optimizer.iterations.numpy())
        loop.optimizer.dynamic_scale.assign(2.0**40)
        history = loop.train(batches, 3, 1)
        assert float(loop.optimizer.dynamic_scale.numpy()) == 2.0**39
        for variable, before in zip(
            loop.model.trainable_variables, weights, strict=True
        ):
            np.testing.assert_array_equal(variable.numpy(), before)
        assert int(loop.optimizer.iterations.numpy()) == updates == 3
        assert np.isfinite(history["loss"]).all()
        loop.optimizer.dynamic_scale.assign(2.0**10)
        loop.train(batches, 4, 1)
        assert (loop.model.trainable_variables[0].numpy() != weights[0]).any()
