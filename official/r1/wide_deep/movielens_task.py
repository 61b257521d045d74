"""How the rating model is trained, exported and asked, on the shared loop."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from official.r1.wide_deep import (
    movielens,
    movielens_features,
    movielens_like,
    movielens_model,
    prediction,
)
from official.r1.wide_deep.features import prepare
from official.r1.wide_deep.movielens import Ratings
from official.r1.wide_deep.movielens_features import RatingFeatures
from official.r1.wide_deep.sizes import hidden_units
from official.r1.wide_deep.task import SPLITS, WideDeepTask
from official.utils.export.saved_model import Signature
from official.utils.training.task import Loss


class MovielensTask(WideDeepTask):
    """Tells what a user will rate a movie."""

    name = "wide_deep_movielens"
    metric = "rmse"
    higher_is_better = False
    _features: RatingFeatures | None = None

    def load(self) -> str:
        """Reads the data set; see `Task.load`."""
        settings = self.settings
        source = "the embedded set of made-up ratings"
        if settings.dataset == "movielens_like":
            parts = movielens_like.load(settings.seed)
        else:
            parts = movielens.load(settings.dataset, settings.data_dir, settings.seed)
            source = f"read from {settings.data_dir}"
        self.facts = movielens_features.learn(parts, settings.min_count)
        self.take_parts(
            {split: getattr(parts, split) for split in SPLITS}, self._prepare
        )
        users, items = (len(self.facts[name]) for name in ("users", "items"))
        return self.described(source, f"ratings, {users:,} users, {items:,} movies")

    def _prepare(self, ratings: Ratings) -> dict[str, np.ndarray]:
        """Ids and numbers of all rows: each is the same in every epoch."""
        columns = dict(ratings.columns)
        columns["genres"] = np.full(len(ratings), "", object)
        kinds = dict.fromkeys(movielens_features.CATEGORIES, tf.string)
        kinds |= dict.fromkeys(movielens_features.NUMBERS, tf.float32)
        found = prepare(self.features, columns, kinds)
        return {name: found[name] for name in self._inputs} | {
            "rating": ratings.ratings
        }

    @property
    def features(self) -> RatingFeatures:
        """The transformation of raw columns, built once."""
        if self._features is None:
            self._features = RatingFeatures(self.facts)
        return self._features

    @property
    def _inputs(self) -> tuple[str, ...]:
        inputs = ("user", "item", "genres", "time")
        return inputs[:-1] if self.settings.model_type == "wide" else inputs

    def build_model(self) -> keras.Model:
        """See `Task.build_model`."""
        settings, features = self.settings, self.features
        sizes = movielens_model.RatingSizes(
            users=features.num_users,
            items=features.num_items,
            genres=features.num_genres,
            user_size=settings.user_embedding_size,
            item_size=settings.item_embedding_size,
            hidden_units=hidden_units(settings.hidden_units),
            dropout=settings.dropout,
            vector_dropout=settings.embedding_dropout,
        )
        return movielens_model.build_model(settings.model_type, sizes)

    def outputs(self, network: keras.Model, batch, training: bool):
        """Ratings, float32 [batch]."""
        inputs = {name: batch[name] for name in self._inputs}
        difference = tf.cast(network(inputs, training=training), tf.float32)
        return self.facts["mean_rating"] + difference[:, 0]

    def loss(
        self, network: keras.Model, batch: Mapping[str, Any], training: bool
    ) -> Loss:
        """Squared error in stars; see `Task.loss`."""
        losses = tf.square(self.outputs(network, batch, training) - batch["rating"])
        weights = batch.get("example_weight", tf.ones_like(losses))
        return Loss(tf.reduce_sum(losses * weights), tf.reduce_sum(weights))

    def more_metrics(self, network: keras.Model, split: str) -> dict[str, float]:
        """Errors of ratings within the stars there are, and the best possible one."""
        part, ratings = self.parts[split], self.arrays[split]["rating"]
        guesses = self.all_outputs(network, split, len(ratings))
        guesses = np.clip(guesses, *self.facts["rating_range"])
        found = {
            "rmse": _rmse(guesses, ratings),
            "mae": float(np.abs(guesses.astype(np.float64) - ratings).mean()),
        }
        if split == "test":
            found["baseline_rmse"] = _rmse(self.facts["mean_rating"], ratings)
        if part.expected is not None:
            found["best_rmse"] = _rmse(part.expected, part.ratings)
        return found

    def signatures(self, network: keras.Model) -> Mapping[str, Signature]:
        """Serialized examples, or named raw columns, to ratings.

        `serving_default(examples: string [N])` and `columns(user_id, item_id, genres:
        string [N], timestamp: float32 [N])`.
        """
        lowest, highest = self.facts["rating_range"]

        def answer(columns):
            batch = self.features(columns)
            stars = self.outputs(network, batch, False)
            return {"rating": tf.clip_by_value(stars, lowest, highest)}

        return prediction.signatures(
            answer,
            movielens_features.CATEGORIES,
            movielens_features.NUMBERS,
            self.features.resources,
        )

    def predict(self, network: keras.Model) -> None:
        """Writes the rating of the rows of `--input`."""
        prediction.predict_ratings(
            self.signatures(network)["columns"].function,
            self.settings,
            movielens_features.CATEGORIES,
            movielens_features.NUMBERS,
        )


def _rmse(guesses, ratings: np.ndarray) -> float:
    """The root of the mean squared error, in stars."""
    errors = np.asarray(guesses, np.float64) - ratings
    return float(np.sqrt(np.square(errors).mean()))
