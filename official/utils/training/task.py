"""What one model brings to the shared loop."""

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from official.utils.data.streams import EvaluationStream, TrainingStream
from official.utils.errors import UserError
from official.utils.export.saved_model import Signature
from official.utils.flags.settings import Settings
from official.utils.training import checkpoints, optimizers


@dataclasses.dataclass
class Loss:
    """What a batch costs, as sums, so that parts of a batch add up to the whole.

    Attributes:
        total: sum of the weighted losses of the examples, float32 scalar.
        weight: sum of their weights, float32 scalar. The gradient is divided by it
            once, after it was summed over micro-batches and replicas.
        metrics: for each metric its weighted sum and the sum of the weights. `loss` is
            always there and need not be given.
    """

    total: Any
    weight: Any
    metrics: Mapping[str, tuple[Any, Any]] = dataclasses.field(default_factory=dict)


class Task(abc.ABC):
    """A model's part in a run: its data, network, loss, export and prediction.

    Attributes:
        name: the model's name in logs and results.
        metric: the metric of validation data that `--stop_threshold` and
            `--export_best` look at; `validation_<metric>` in the log.
        higher_is_better: the direction of `metric`.
        counts_tokens: `--batch_size` is a number of tokens, so that it need not divide
            by replicas and accumulation steps: the stream gives rows that do.
        facts: what the network takes from the data, such as the names of the classes;
            plain JSON. `load` sets it. It stands in every checkpoint, which gives it
            back where a checkpoint is used without the data.
        folder: that of the run, `--model_dir` or a fresh one.
        files_in_use: what `load` has made or found in that folder and training reads:
            `--clean` leaves it.
        recorded: the facts of the run's newest checkpoint, before `load`; empty where
            there is none.
    """

    name: str
    metric: str = "accuracy"
    higher_is_better: bool = True
    counts_tokens: bool = False

    def __init__(self, settings: Settings):
        """Keeps the resolved flags; data is read by `load`."""
        self.settings = settings
        self.facts: dict[str, Any] = {}
        self.folder = settings.model_dir
        self.files_in_use: tuple[str, ...] = ()
        self.recorded: dict[str, Any] = {}

    @abc.abstractmethod
    def load(self) -> str:
        """Reads the data set.

        Returns:
            One line that says which set this is and how large its parts are.

        Raises:
            UserError: a file is missing or damaged.
        """

    @abc.abstractmethod
    def build_model(self) -> keras.Model:
        """A new network, built, with fresh weights."""

    @abc.abstractmethod
    def training_stream(self) -> TrainingStream:
        """The training batches."""

    @abc.abstractmethod
    def evaluation_stream(self, split: str) -> EvaluationStream:
        """Every example of `split` (`validation` or `test`) once."""

    @abc.abstractmethod
    def loss(
        self, model: keras.Model, batch: Mapping[str, Any], training: bool
    ) -> Loss:
        """Loss and metrics of one batch on one replica; traced by TensorFlow.

        Args:
            model: the network.
            batch: tensors by name, as the streams give them. Evaluation batches have
                `example_weight`, float32 [batch], 0 where a row is padding.
            training: whether dropout and batch statistics are on.
        """

    @abc.abstractmethod
    def signatures(self, model: keras.Model) -> Mapping[str, Signature]:
        """Functions of the SavedModel; `serving_default` is among them."""

    def initial_values(self, path: str, model: keras.Model) -> dict[str, np.ndarray]:
        """The weights that `--init_checkpoint` names.

        Args:
            path: the flag's value.
            model: the network, with fresh weights.

        Returns:
            A value for every variable of the network, by structural name.

        Raises:
            UserError: there is no readable checkpoint.
        """
        return checkpoints.read_initial(path)

    def more_metrics(self, model: keras.Model, split: str) -> dict[str, float]:
        """Metrics that are no means over the rows of batches.

        Args:
            model: the network.
            split: `validation` or `test`.

        Returns:
            Metrics by name; each worker computes them in full.
        """
        return {}

    def make_optimizer(
        self, model: keras.Model, total_steps: int
    ) -> keras.optimizers.Optimizer:
        """An optimizer for the network, not yet built; that of the flags.

        Args:
            model: the network.
            total_steps: steps of the whole run, for the schedule.
        """
        return optimizers.make_optimizer(self.settings, total_steps)

    def learning_rate_scales(self, model: keras.Model) -> dict[str, float]:
        """What the learning rate of some variables is multiplied by.

        Args:
            model: the network.

        Returns:
            Factors by structural name; 1 for variables that are not there.
        """
        return {}

    def explain(self, error: tf.errors.OpError) -> UserError | None:
        """What the user can mend behind an error that came up while data was read.

        Args:
            error: what TensorFlow raised.

        Returns:
            One line that names file and record; None if the files are not the reason.
        """
        return None

    def predict(self, model: keras.Model) -> None:
        """Prints predictions for what the main's own flags name."""
        raise NotImplementedError(f"{self.name} defines no --mode=predict")
