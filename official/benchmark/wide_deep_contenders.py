"""What the benchmark of wide and deep lets take turns: our loop, and Keras `fit`."""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from official.benchmark import contenders, micro
from official.r1.wide_deep import census_main
from official.r1.wide_deep.census_task import CensusTask
from official.utils.distribution import strategies
from official.utils.flags import core as flags_core
from official.utils.training.loop import build_loop

_TOTAL_STEPS = 1_000_000
_SHUFFLE_ROWS = 10_000


def make_task(
    dataset: str, data_dir: str | None, seed: int, batch_size: int
) -> CensusTask:
    """The census model of a data set's recipe; its data are not loaded yet."""
    values = flags_core.make_flags(
        census_main.define_flags,
        census_main.RECIPES,
        dataset=dataset,
        data_dir=data_dir,
        seed=seed,
        batch_size=batch_size,
        # `FeatureSpace` crosses two columns at most.
        crosses="education*occupation,age*education,age*occupation",
    )
    return CensusTask(flags_core.resolve(values, census_main.RECIPES))


def loop_contender(task: CensusTask) -> micro.Contender:
    """Training steps of our loop over the task's own stream."""
    keras.utils.set_random_seed(task.settings.seed)
    strategy = strategies.make_strategy(task.settings)
    loop = build_loop(task, strategy, _TOTAL_STEPS)
    return micro.loop_contender(loop, task.training_stream())


def feature_space(task: CensusTask) -> keras.utils.FeatureSpace:
    """Keras' own preprocessing, with as many buckets, and the crosses, of ours."""
    space = keras.utils.FeatureSpace
    facts = task.facts
    features: dict[str, Any] = {
        name: space.string_categorical(num_oov_indices=1, output_mode="int")
        for name in facts["vocabularies"]
    }
    for name in facts["numbers"]:
        features[name] = space.float_normalized()
        # It learns the boundaries by itself; there is no way to give it ours.
        features[f"{name}_bucket"] = space.float_discretized(
            num_bins=len(facts["boundaries"][name]) + 1, output_mode="int"
        )
    crosses = [
        space.cross(
            [name if name in facts["vocabularies"] else f"{name}_bucket" for name in c],
            crossing_dim=size,
            output_mode="int",
        )
        for c, size in zip(facts["wide"], task.features.wide_sizes, strict=True)
        if len(c) > 1
    ]
    return space(features, crosses=crosses, output_mode="dict")


def raw_columns(task: CensusTask) -> dict[str, tf.Tensor]:
    """The training part as `FeatureSpace` takes it: a number stands twice."""
    columns = {n: tf.constant(v) for n, v in task.parts["train"].columns.items()}
    buckets = {f"{n}_bucket": columns[n] for n in task.facts["numbers"]}
    return columns | buckets


def network_inputs(task: CensusTask, encoded: Mapping[str, Any]) -> dict[str, Any]:
    """What the network takes, from what `FeatureSpace` gives."""
    facts = task.facts

    def column(name):
        return tf.cast(tf.reshape(encoded[name], [-1]), tf.int32)

    def ids(key):
        return column(key if key in facts["vocabularies"] else f"{key}_bucket")

    wide = [
        ids(keys[0]) if len(keys) == 1 else column(_cross_name(task, keys))
        for keys in facts["wide"]
    ]
    return {
        "wide_ids": tf.stack(wide, axis=1),
        "embedded_ids": tf.stack([ids(key) for key in facts["embedded"]], axis=1),
        "numbers": tf.concat([encoded[n] for n in facts["plain"]], axis=1),
    }


def _cross_name(task: CensusTask, keys) -> str:
    names = [
        key if key in task.facts["vocabularies"] else f"{key}_bucket" for key in keys
    ]
    return "_X_".join(names)


def fit_contender(task: CensusTask, is_cached: bool) -> micro.Contender:
    """Keras `fit` on `FeatureSpace`: a turn is a call of it, of whole epochs.

    Args:
        task: whose network, optimizers and data it takes.
        is_cached: whether each row goes through `FeatureSpace` once, not once an epoch.
    """
    columns = raw_columns(task)
    labels = tf.constant(task.parts["train"].labels[:, None])
    space = feature_space(task)
    space.adapt(tf.data.Dataset.from_tensor_slices(columns).batch(4096))
    rows = tf.data.Dataset.from_tensor_slices((columns, labels))

    def encode(batch, label):
        return network_inputs(task, space(batch)), label

    if is_cached:
        rows = rows.batch(4096).map(encode).unbatch().cache()
    batches = rows.shuffle(_SHUFFLE_ROWS, seed=0).repeat()
    batches = batches.batch(task.settings.batch_size, drop_remainder=True)
    if not is_cached:
        batches = batches.map(encode, num_parallel_calls=tf.data.AUTOTUNE)
    batches = batches.prefetch(tf.data.AUTOTUNE)
    keras.utils.set_random_seed(task.settings.seed)
    network = task.build_model()
    network.compile(
        task.make_optimizer(network, _TOTAL_STEPS),
        keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[keras.metrics.BinaryAccuracy(threshold=0.0)],
    )

    steps = len(labels) // task.settings.batch_size

    def train(count):
        return contenders.fit_seconds(
            network,
            batches,
            epochs=count // steps,
            steps_per_epoch=steps,
            shuffle=False,
        )

    return micro.Contender(train, steps)
