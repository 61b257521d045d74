"""The network of NCF in Keras and in PyTorch, and how fast it trains there.

Batches come ready from memory, or are drawn as a user of these libraries would draw
them: NumPy picks items for a whole batch at once and replaces those that were taken.
"""

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np


def timed(steps: Callable[[int], None], seconds: float) -> np.ndarray:
    """Steps a second, and a second of one processor, after a warm-up."""
    steps(3)
    begun = time.perf_counter()
    steps(5)
    number = max(5, int(seconds * 5 / (time.perf_counter() - begun)))
    begun, processor = time.perf_counter(), time.process_time()
    steps(number)
    return number / np.array(
        [time.perf_counter() - begun, time.process_time() - processor]
    )


@dataclasses.dataclass(frozen=True)
class Form:
    """What a contender trains.

    Attributes:
        num_users: rows of the users' table.
        num_items: rows of the items' table.
        num_factors: numbers of a row in the product.
        layers: the first is what user and item have together below the perceptron, the
            others are its layers.
        batch_size: examples of a step.
        seconds: of the measurement.
    """

    num_users: int
    num_items: int
    num_factors: int
    layers: Sequence[int]
    batch_size: int
    seconds: float

    @property
    def width(self) -> int:
        """Numbers of a row of a table."""
        return self.num_factors + self.layers[0] // 2


# Single examples: user and item, int32, and label, float32, [batch] each.
Batch = tuple[np.ndarray, np.ndarray, np.ndarray]
_NUM_READY = 8


def ready_batches(form: Form) -> Iterator[Batch]:
    """A few batches of random users and items, again and again."""
    batch_size = form.batch_size
    generator = np.random.default_rng(0)
    ready = []
    for _ in range(_NUM_READY):
        users = np.repeat(generator.integers(0, form.num_users, batch_size // 5 + 1), 5)
        ready.append(
            (
                users[:batch_size].astype(np.int32),
                generator.integers(0, form.num_items, batch_size, dtype=np.int32),
                (np.arange(batch_size) % 5 == 0).astype(np.float32),
            )
        )
    return itertools.cycle(ready)


def drawn_batches(
    form: Form, users: np.ndarray, items: np.ndarray, num_negatives: int
) -> Iterator[Batch]:
    """Random pairs, each with fresh negatives.

    Args:
        form: sizes.
        users: int [pairs], of the pairs to train on.
        items: int [pairs].
        num_negatives: items drawn for each pair that its user did not take.
    """
    generator = np.random.default_rng(0)
    taken = np.sort(users.astype(np.int64) * form.num_items + items)
    pairs = form.batch_size // (1 + num_negatives)

    def draw(_):
        rows = generator.integers(0, len(users), pairs)
        user = np.repeat(users[rows], num_negatives)
        drawn = np.empty(len(user), np.int32)
        missing = np.arange(len(user))
        while len(missing):
            drawn[missing] = generator.integers(0, form.num_items, len(missing))
            keys = user[missing].astype(np.int64) * form.num_items + drawn[missing]
            places = np.minimum(np.searchsorted(taken, keys), len(taken) - 1)
            missing = missing[taken[places] == keys]
        item = np.concatenate(
            [items[rows, np.newaxis], drawn.reshape(pairs, num_negatives)], axis=1
        )
        return (
            np.repeat(users[rows], 1 + num_negatives).astype(np.int32),
            item.reshape(-1).astype(np.int32),
            (np.arange(item.size) % item.shape[1] == 0).astype(np.float32),
        )

    # No generator: of those `fit` leaves one half read, and another thread goes on.
    return map(draw, itertools.count())


def keras_rate(form: Form, batches: Iterator[Batch]) -> np.ndarray:
    """Examples a second in Keras' own `fit`; see `timed`."""
    import keras
    import tensorflow as tf
    from keras import layers

    from official.utils.data.streams import keep_order

    factors, width = form.num_factors, form.width
    user, item = (keras.Input((), dtype="int32") for _ in range(2))
    rows = [
        layers.Embedding(number, width)(side)
        for number, side in ((form.num_users, user), (form.num_items, item))
    ]
    product = layers.Multiply()([row[:, :factors] for row in rows])
    x = layers.Concatenate()([row[:, factors:] for row in rows])
    for size in form.layers[1:]:
        x = layers.Dense(size, "relu")(x)
    logits = layers.Dense(1)(layers.Concatenate()([product, x]))
    model = keras.Model([user, item], logits[:, 0])
    model.compile(
        keras.optimizers.Adam(1e-3), keras.losses.BinaryCrossentropy(from_logits=True)
    )
    number, label = tf.TensorSpec([None], tf.int32), tf.TensorSpec([None], tf.float32)
    dataset = tf.data.Dataset.from_generator(
        lambda: (((user, item), label) for user, item, label in batches),
        output_signature=((number, number), label),
    ).prefetch(2)
    # At its end `fit` waits for the tuner of tf.data, which has nothing to tune here.
    dataset = keep_order(dataset)

    def steps(count):
        model.fit(dataset, steps_per_epoch=count, verbose=0)

    return timed(steps, form.seconds) * form.batch_size


def torch_rate(
    form: Form, batches: Iterator[Batch], is_sparse: bool = False
) -> np.ndarray:
    """Examples a second in PyTorch; see `timed`.

    Args:
        form: what is trained.
        batches: of `ready_batches` or `drawn_batches`.
        is_sparse: whether gradients of tables hold the rows of a batch alone.
    """
    import torch
    from torch import nn

    factors, width = form.num_factors, form.width
    tables = [
        nn.Embedding(n, width, sparse=is_sparse)
        for n in (form.num_users, form.num_items)
    ]
    hidden = []
    for size, following in itertools.pairwise(form.layers):
        hidden += [nn.Linear(size, following), nn.ReLU()]
    hidden = nn.Sequential(*hidden)
    last = nn.Linear(factors + form.layers[-1], 1)
    rows = [weight for table in tables for weight in table.parameters()]
    rest = [*hidden.parameters(), *last.parameters()]
    optimizers = (
        [torch.optim.SparseAdam(rows, 1e-3), torch.optim.Adam(rest, 1e-3, fused=True)]
        if is_sparse
        else [torch.optim.Adam([*rows, *rest], 1e-3, fused=True)]
    )
    loss_of = nn.BCEWithLogitsLoss()

    def steps(count):
        for batch in itertools.islice(batches, count):
            users, items, labels = map(torch.from_numpy, batch)
            user, item = tables[0](users), tables[1](items)
            x = hidden(torch.cat([user[:, factors:], item[:, factors:]], 1))
            both = torch.cat([user[:, :factors] * item[:, :factors], x], 1)
            loss = loss_of(last(both)[:, 0], labels)
            for optimizer in optimizers:
                optimizer.zero_grad()
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()

    return timed(steps, form.seconds) * form.batch_size
