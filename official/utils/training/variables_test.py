import keras
import numpy as np
import pytest
from keras import layers

from official.mnist import model as mnist_model
from official.utils.flags.training_set import OPTIMIZERS
from official.utils.testing import tasks
from official.utils.training import optimizers
from official.utils.training.variables import named_layers, named_variables


class X1Y2(layers.Layer):  # Keras calls it x1y2: digits do not begin a word.
    """Layers in containers, and weights without a name."""

    def __init__(self):
        super().__init__()
        self.blocks = {"first": layers.Dense(2), "rest": [layers.Dense(2)]}
        self.grid = [[layers.Dense(2)], (layers.Dense(2), layers.Dense(2))]
        self._norm = layers.LayerNormalization()

    def build(self, shape):
        self.scale = self.add_weight(shape=(2,))
        self._offsets = [self.add_weight(shape=(2,)) for _ in range(2)]
        super().build(shape)

    def call(self, inputs):
        x = inputs
        for layer in (self.blocks["first"], *self.blocks["rest"]):
            x = layer(x)
        for row in self.grid:
            for layer in row:
                x = layer(x)
        return self._norm(x * self.scale + self._offsets[0] + self._offsets[1])


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.blocks = [X1Y2() for _ in range(2)]
        self.head = keras.Sequential([layers.Dropout(0.1), layers.Dense(3)])

    def call(self, inputs):
        x = inputs
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def subclassed():
    model = Subclassed()
    model(np.zeros((1, 4, 2), "float32"))
    return model


def functional():
    inputs = keras.Input((4, 2))
    shared = layers.Dense(2)
    x = X1Y2()(shared(inputs))
    x = shared(X1Y2()(x))
    x = layers.MultiHeadAttention(2, 3, dropout=0.1)(x, x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Dropout(0.1)(x)
    x = layers.Bidirectional(layers.LSTM(3, dropout=0.1))(x)
    return keras.Model(inputs, layers.Dense(3)(x))


def sequential():
    return keras.Sequential(
        [
            keras.Input((4, 2)),
            layers.Dense(2),
            layers.Dense(2),
            keras.Sequential([layers.Dense(2), layers.Dropout(0.1)]),
            layers.Dense(2, name="head"),
        ]
    )


class Tied(layers.Layer):
    def __init__(self, embedding):
        super().__init__()
        self.embedding = embedding

    def call(self, inputs):
        return self.embedding(inputs)


def shared():
    inputs = keras.Input((4,), dtype="int32")
    embedding = layers.Embedding(5, 2)
    encoder, decoder = Tied(embedding), Tied(embedding)
    return keras.Model(inputs, encoder(inputs) + decoder(inputs))


BUILDERS = [subclassed, functional, sequential, shared, mnist_model.build_model]


@pytest.mark.parametrize("build", BUILDERS)
def test_names_are_unique_complete_and_repeat(build):
    model, again = build(), build()
    named = named_variables(model)
    assert len(named) == len({id(variable) for variable in named.values()})
    assert {id(v) for v in named.values()} == {id(v) for v in model.variables}
    shapes = {name: tuple(variable.shape) for name, variable in named.items()}
    assert shapes == {n: tuple(v.shape) for n, v in named_variables(again).items()}
    paths = list(named_layers(model))
    assert paths == list(named_layers(again))
    assert len(paths) == len(set(paths))


def test_names_of_the_mnist_network():
    assert list(named_variables(mnist_model.build_model())) == [
        "model/conv1/kernel",
        "model/conv1/bias",
        "model/conv2/kernel",
        "model/conv2/bias",
        "model/dense/kernel",
        "model/dense/bias",
        "model/dropout/seed_generator_state",
        "model/logits/kernel",
        "model/logits/bias",
    ]


def test_names_of_attributes_and_containers():
    grid = ("grid/0/0", "grid/1/0", "grid/1/1")
    block = [
        "scale",
        "offsets/0",
        "offsets/1",
        *(
            f"{dense}/{weight}"
            for dense in ("blocks/first", "blocks/rest/0", *grid)
            for weight in ("kernel", "bias")
        ),
        "norm/gamma",
        "norm/beta",
    ]
    head = ["dropout/seed_generator_state", "dense/kernel", "dense/bias"]
    assert sorted(named_variables(subclassed())) == sorted(
        [f"model/blocks/{i}/{name}" for i in range(2) for name in block]
        + [f"model/head/{name}" for name in head]
    )


def test_names_by_kind_and_rank():
    named = named_variables(sequential())
    kernels = [name for name in named if name.endswith("kernel")]
    assert kernels == [
        "model/dense/kernel",
        "model/dense_1/kernel",
        "model/sequential/dense/kernel",
        "model/head/kernel",
    ]
    assert "model/sequential/dropout/seed_generator_state" in named


def test_state_that_is_no_weight_has_a_name():
    assert {
        "model/norm/moving_mean",
        "model/norm/moving_variance",
        "model/dropout/seed_generator_state",
        "model/multi_head_attention/dropout_layer/seed_generator_state",
        "model/bidirectional/forward_layer/cell/seed_generator_state",
        "model/x1y2_1/scale",
    } <= named_variables(functional()).keys()


def test_shared_layer_has_one_name():
    assert list(named_variables(shared())) == ["model/tied/embedding/embeddings"]
    assert "tied/embedding" in named_layers(shared())
    assert "tied_1/embedding" not in named_layers(shared())


SLOTS = {
    "sgd": ["momentums"],
    "adam": ["momentums", "velocities"],
    "adamw": ["momentums", "velocities"],
    "adagrad": ["accumulators"],
    "ftrl": ["accumulators", "linears"],
    "lamb": ["momentums", "velocities"],
    "rmsprop": ["velocities", "momentums"],
}


def test_every_optimizer_is_listed():
    assert set(SLOTS) == set(OPTIMIZERS)


@pytest.mark.parametrize("name", SLOTS)
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_names_of_optimizer_slots(name, schedule):
    settings = tasks.settings(
        optimizer=name, schedule=schedule, ema_decay=0.9, clip_norm=1.0
    )
    model = functional()
    optimizer = optimizers.make_optimizer(settings, 10)
    optimizer.build(model.trainable_variables)
    named = named_variables(model, optimizer)
    weights = {id(variable): path for path, variable in named_variables(model).items()}
    trainable = [
        weights[id(variable)].removeprefix("model/")
        for variable in model.trainable_variables
    ]
    expected = ["iterations"] + [
        f"{slot}/{path}"
        for slot in [*SLOTS[name], "model_variables_moving_average"]
        for path in trainable
    ]
    found = [path for path in named if path.startswith("optimizer/")]
    assert sorted(found) == sorted(f"optimizer/{path}" for path in expected)
    slots = {id(named[path]) for path in found}
    assert slots == {id(variable) for variable in optimizer.variables}
