"""How the census model is trained, exported and asked, on the shared loop."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from official.r1.wide_deep import columns as column_sets
from official.r1.wide_deep import dataset, model, prediction
from official.r1.wide_deep.features import Features
from official.r1.wide_deep.sizes import hidden_units
from official.r1.wide_deep.tables import Table
from official.r1.wide_deep.task import SPLITS, WideDeepTask
from official.utils.export.saved_model import Signature
from official.utils.training import metrics
from official.utils.training.task import Loss


class CensusTask(WideDeepTask):
    """Tells two classes of the rows of a table apart."""

    name = "wide_deep_census"
    _features: Features | None = None

    def load(self) -> str:
        """Reads the data set; see `Task.load`."""
        settings = self.settings
        data = dataset.load(settings)
        columns = data.columns
        if settings.crosses:
            crosses = column_sets.parse_crosses(settings.crosses, columns)
            columns = column_sets.with_crosses(columns, crosses)
        limits = column_sets.Limits(
            settings.min_count, settings.num_buckets, settings.cross_buckets
        )
        self.facts = column_sets.learn(columns, data.train.columns, limits)
        self.facts["label_names"] = list(data.label_names)
        parts = {split: getattr(data, split) for split in SPLITS}
        self.take_parts(parts, self._prepare)
        return self.described(data.source, "rows")

    def _prepare(self, table: Table) -> dict[str, np.ndarray]:
        """Ids and numbers of all rows: each is the same in every epoch."""
        found = self.features.prepare(table.columns)
        return {name: found[name] for name in self._inputs if name in found} | {
            "label": table.labels
        }

    @property
    def features(self) -> Features:
        """The transformation of raw columns, built once."""
        if self._features is None:
            self._features = Features(self.facts)
        return self._features

    @property
    def _inputs(self) -> tuple[str, ...]:
        kinds = ("wide_ids", "indicator_ids", "embedded_ids", "numbers")
        return {"wide": kinds[:1], "deep": kinds[1:]}.get(
            self.settings.model_type, kinds
        )

    def build_model(self) -> keras.Model:
        """See `Task.build_model`."""
        settings, features = self.settings, self.features
        sizes = model.Sizes(
            wide=features.wide_sizes,
            indicators=features.indicator_sizes,
            embedded=features.embedded_sizes,
            numbers=features.num_numbers,
            hidden_units=hidden_units(settings.hidden_units),
            embedding_size=settings.embedding_size,
            dropout=settings.dropout,
        )
        return model.build_model(settings.model_type, sizes)

    def loss(
        self, network: keras.Model, batch: Mapping[str, Any], training: bool
    ) -> Loss:
        """Cross entropy and accuracy; see `Task.loss`."""
        logits = self.outputs(network, batch, training)
        labels = batch["label"]
        losses = tf.nn.sigmoid_cross_entropy_with_logits(labels, logits)
        weights = batch.get("example_weight", tf.ones_like(losses))
        hits = tf.cast(tf.equal(logits > 0, labels > 0.5), tf.float32)
        weight = tf.reduce_sum(weights)
        return Loss(
            tf.reduce_sum(losses * weights),
            weight,
            {"accuracy": (tf.reduce_sum(hits * weights), weight)},
        )

    def outputs(self, network: keras.Model, batch, training: bool):
        """Logits, float32 [batch]."""
        inputs = {name: batch[name] for name in self._inputs if name in batch}
        return tf.cast(network(inputs, training=training), tf.float32)[:, 0]

    def more_metrics(self, network: keras.Model, split: str) -> dict[str, float]:
        """The area under the ROC curve, and what is known of the best guesses."""
        table, labels = self.parts[split], self.arrays[split]["label"]
        scores = self.all_outputs(network, split, len(labels))
        found = {"auc": metrics.auc(labels, scores)}
        share = float(labels.mean())
        if split == "test":
            found["baseline_accuracy"] = max(share, 1 - share)
        if split == "test" and table.probabilities is not None:
            best = (table.probabilities > 0.5) == (table.labels > 0.5)
            found["best_accuracy"] = float(best.mean())
            found["best_auc"] = metrics.auc(table.labels, table.probabilities)
        return found

    def signatures(self, network: keras.Model) -> Mapping[str, Signature]:
        """Serialized examples, or named raw columns, to classes and probabilities.

        `serving_default(examples: string [N])` takes `tf.Example`s with a feature for
        each column, `columns(age: float32 [N], education: string [N], ...)` a tensor
        for each. The outputs are those of the estimator of 2019.
        """
        facts, features = self.facts, self.features
        label_names = tf.constant(facts["label_names"], tf.string)

        def answer(columns):
            batch = features(columns)
            logits = self.outputs(network, batch, False)[:, tf.newaxis]
            logistic = tf.nn.sigmoid(logits)
            class_ids = tf.cast(logits > 0, tf.int64)
            return {
                "class_ids": class_ids,
                "classes": tf.gather(label_names, class_ids),
                "logistic": logistic,
                "logits": logits,
                "probabilities": tf.concat([1 - logistic, logistic], axis=1),
            }

        return prediction.signatures(
            answer, facts["categories"], facts["numbers"], features.resources
        )

    def predict(self, network: keras.Model) -> None:
        """Writes class and probability of the rows of `--input`."""
        prediction.predict_classes(
            self.signatures(network)["columns"].function, self.settings, self.facts
        )
