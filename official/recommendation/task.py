"""How neural collaborative filtering is trained, exported and asked."""

import hashlib
import os
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from official.recommendation import (
    dataset,
    metrics,
    model,
    recommendations,
    sampling,
    serving,
)
from official.recommendation.dataset import Dataset
from official.recommendation.interactions import HeldOut
from official.recommendation.lazy_adam import LazyAdam
from official.utils.data.streams import Share
from official.utils.export.saved_model import Signature
from official.utils.training import optimizers
from official.utils.training.adam import Adam
from official.utils.training.task import Loss, Task

Scorer = Callable[..., tf.Tensor]
# Pairs of user and item that an evaluation step scores where no flag says.
_EVAL_PAIRS = 1 << 17
# Whatever the seed of a run, held-out items are ranked among the same others.
_TEST_SEED = 0


class NcfTask(Task):
    """Recommends items to users."""

    name = "ncf"
    metric = "hr_at_10"

    def __init__(self, settings):
        """See `Task`."""
        super().__init__(settings)
        self.data: Dataset | None = None

    def load(self) -> str:
        """Reads the data set; see `Task.load`."""
        self.data = dataset.load(self.settings)
        divided = self.data.interactions
        self.facts = {
            "number_of_users": divided.num_users,
            "number_of_items": divided.num_items,
            "ids": _digest(self.data.user_ids, self.data.item_ids),
        }
        notes = "".join(f"; {note}" for note in divided.notes)
        return (
            f"{self.settings.dataset}, {self.data.source} ({divided.num_users:,} "
            f"users, {divided.num_items:,} items: {len(divided.users):,} train, "
            f"{len(divided.validation.users):,} validation, "
            f"{len(divided.test.users):,} test{notes})"
        )

    def build_model(self) -> keras.Model:
        """See `Task.build_model`."""
        if self.data is None:
            self.load()
        settings = self.settings
        config = model.NcfConfig(
            self.facts["number_of_users"],
            self.facts["number_of_items"],
            settings.model_type,
            settings.num_factors,
            tuple(map(int, settings.layers.split(","))),
            settings.separate_tables,
        )
        return model.build_model(config, _strengths(settings)[2:])

    def make_optimizer(
        self, network: keras.Model, total_steps: int
    ) -> keras.optimizers.Optimizer:
        """That of the flags; of Adam the lazy form unless the flags say otherwise."""
        settings = self.settings
        optimizer = optimizers.make_optimizer(settings, total_steps)
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        if not settings.lazy_tables or not isinstance(inner, Adam):
            return optimizer
        tables = [table.rows for table in (*network.user_tables, *network.item_tables)]
        lazy = LazyAdam.of(inner, tables)
        if optimizer is inner:
            return lazy
        return keras.optimizers.LossScaleOptimizer(lazy)

    def training_stream(self) -> sampling.NegativesStream:
        """See `Task.training_stream`."""
        settings = self.settings
        return sampling.NegativesStream(
            self.data.interactions,
            settings.batch_size,
            settings.num_neg,
            settings.seed,
            settings.num_parallel_calls or os.cpu_count() or 1,
        )

    def evaluation_stream(self, split: str) -> sampling.HeldOutStream:
        """See `Task.evaluation_stream`."""
        settings = self.settings
        num_items = self.data.interactions.num_items
        rivals = settings.num_eval_negatives
        pairs = settings.eval_batch_size or _EVAL_PAIRS
        return sampling.HeldOutStream(
            self._held_out(split),
            num_items,
            rivals,
            max(1, pairs // (num_items if rivals < 0 else 1 + rivals)),
            _TEST_SEED,
            settings.num_parallel_calls or os.cpu_count() or 1,
        )

    def _held_out(self, split: str) -> HeldOut:
        divided = self.data.interactions
        return divided.test if split == "test" else divided.validation

    def loss(
        self, network: keras.Model, batch: Mapping[str, Any], training: bool
    ) -> Loss:
        """Cross entropy; HR and NDCG in an evaluation; see `Task.loss`."""
        if training:
            return self._training_loss(network, batch)
        standing = metrics.standings(batch, *scorers(network))
        # As in training, `num_neg` of the others weigh as much as the own item.
        share = self.settings.num_neg / tf.maximum(standing.others, 1)
        losses = tf.nn.softplus(-standing.own) + share * standing.others_cost
        losses /= 1 + self.settings.num_neg
        weights = batch["example_weight"]
        weight = tf.reduce_sum(weights)
        hit, gain = metrics.hit_and_gain(standing.rank)
        return Loss(
            tf.reduce_sum(losses * weights),
            weight,
            {
                "hr_at_10": (tf.reduce_sum(hit * weights), weight),
                "ndcg_at_10": (tf.reduce_sum(gain * weights), weight),
            },
        )

    def _training_loss(self, network, batch) -> Loss:
        users = network.user_rows(batch["user"])
        items = network.item_rows(batch["item"])
        logits = network.pair(network.user_side(users), network.item_side(items))
        total = tf.reduce_sum(tf.nn.softplus(logits)) - tf.reduce_sum(logits[:, 0])
        strengths = _strengths(self.settings)
        # As of 2019 an example pays for the rows that it reads; a user's are read once
        # for all items of a group.
        group = logits.shape[1]
        for part, strength in enumerate(strengths[:2]):
            if strength:
                total += strength * (
                    group * tf.reduce_sum(tf.square(tf.cast(users[part], tf.float32)))
                    + tf.reduce_sum(tf.square(tf.cast(items[part], tf.float32)))
                )
        return Loss(total, tf.cast(tf.size(logits), tf.float32))

    def more_metrics(self, network: keras.Model, split: str) -> dict[str, float]:
        """What popularity reaches, and the best possible where it is known."""
        if split != "test":
            return {}
        popularity = tf.constant(self.data.interactions.popularity(), tf.float32)
        found = {
            "baseline_hr_at_10": self.hit_rate(
                split,
                lambda users, items: tf.gather(popularity, items),
                lambda users: tf.tile(popularity[tf.newaxis], [tf.size(users), 1]),
            )
        }
        if self.data.scores is not None:
            law = tf.constant(self.data.scores)
            found["best_hr_at_10"] = self.hit_rate(
                split,
                lambda users, items: tf.gather(
                    tf.gather(law, users), items, batch_dims=1
                ),
                lambda users: tf.gather(law, users),
            )
        return found

    def hit_rate(self, split: str, score_pairs: Scorer, score_all: Scorer) -> float:
        """HR of other scores, among the items that the network's are ranked among.

        Args:
            split: `validation` or `test`.
            score_pairs: see `metrics.standings`.
            score_all: see `metrics.standings`.
        """

        @tf.function
        def hits(batch):
            rank = metrics.standings(batch, score_pairs, score_all).rank
            hit, _ = metrics.hit_and_gain(rank)
            return tf.reduce_sum(hit * batch["example_weight"])

        batches = self.evaluation_stream(split).dataset(Share(1, 0, 1))
        return float(sum(map(hits, batches))) / len(self._held_out(split).users)

    def signatures(self, network: keras.Model) -> Mapping[str, Signature]:
        """See `serving.signatures`."""
        return serving.signatures(network, self.data, self.settings.top_k)

    def predict(self, network: keras.Model) -> None:
        """Prints the best items of each user asked for; see `recommendations`."""
        settings = self.settings
        recommendations.write(
            self.signatures(network)["serving_default"].function,
            recommendations.asked(settings.users, settings.users_file),
            settings.output_file,
        )


def scorers(network: model.NeuMF):
    """Functions that score pairs [batch, items], and users [batch] with all items."""
    num_items = network.config.num_items

    def all_items():
        return network.item_side(network.item_rows(tf.range(num_items)))

    def score_pairs(users, items):
        if items.shape.num_elements() and items.shape.num_elements() > num_items:
            # Items stand in several pairs each, and a side is computed once.
            sides = tuple(tf.gather(side, items) for side in all_items())
        else:
            sides = network.item_side(network.item_rows(items))
        return network.pair(network.user_side(network.user_rows(users)), sides)

    def score_all(users):
        return network.pair(network.user_side(network.user_rows(users)), all_items())

    return score_pairs, score_all


def _strengths(settings) -> list[float]:
    """L2 of the product's rows, the perceptron's rows, and of each of its layers."""
    layers = [float(strength) for strength in settings.mlp_regularization.split(",")]
    return [settings.mf_regularization, *layers]


def _digest(*ids: np.ndarray) -> str:
    """Names the ids and their order."""
    digest = hashlib.sha256()
    for each in ids:
        digest.update("\n".join(map(str, each)).encode())
        digest.update(b"\0")
    return digest.hexdigest()
