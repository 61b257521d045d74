"""Neural matrix factorisation: how much each user would like each item.

He et al., "Neural Collaborative Filtering", 2017, arXiv:1708.05031.
"""

import dataclasses

import keras
from keras import layers, ops

KINDS = ("neumf", "gmf", "mlp")
# So few rows a user are no work for a product of matrices of their own.
_FEW = 32


@dataclasses.dataclass(frozen=True)
class NcfConfig:
    """Sizes of the network.

    Attributes:
        num_users: rows of the users' table.
        num_items: rows of the items' table.
        kind: `neumf`, both parts; `gmf`, the product alone; `mlp`, the layers alone.
        num_factors: numbers of a user or an item in the product.
        layers: the first is what a user and an item have together at the bottom of the
            perceptron, half of it each; the others are its layers.
        separate_tables: whether product and perceptron have tables of their own; else
            they share one a side, each with its part of a row.
    """

    num_users: int
    num_items: int
    kind: str = "neumf"
    num_factors: int = 8
    layers: tuple[int, ...] = (64, 32, 16, 8)
    separate_tables: bool = False

    @property
    def factors(self) -> int:
        """Numbers of a row that the product takes."""
        return 0 if self.kind == "mlp" else self.num_factors

    @property
    def width(self) -> int:
        """Numbers of a row that the perceptron takes."""
        return 0 if self.kind == "gmf" else self.layers[0] // 2


class Table(layers.Layer):
    """A row of weights for each of many things, read by number.

    Unlike `keras.layers.Embedding` it never touches the rows that are not read: the
    gradient holds the rows that were, and reduced precision casts those alone.
    """

    def __init__(self, num_rows: int, size: int, **kwargs):
        """Makes a table of `num_rows` rows of `size` numbers."""
        super().__init__(**kwargs)
        self.num_rows = num_rows
        self.size = size

    def build(self, input_shape=None):
        """Makes the weights."""
        self.rows = self.add_weight(
            shape=(self.num_rows, self.size),
            initializer="glorot_uniform",
            name="rows",
            autocast=False,
        )
        self.built = True

    def call(self, numbers):
        """Rows, [..., size], of whole numbers [...]."""
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            # It reads from the variable itself: ops.take would read all of it first.
            rows = tf.gather(self.rows.value, numbers)
        else:
            rows = ops.take(self.rows, numbers, axis=0)
        return ops.cast(rows, self.compute_dtype)


class NeuMF(keras.Model):
    """Product and perceptron of a user and an item.

    The first layer of the perceptron is linear in the user and in the item before its
    relu, so that each side is computed once for a user or an item (`user_side`,
    `item_side`), however many pairs it stands in; `pair` does the rest.
    """

    def __init__(self, config: NcfConfig, mlp_regularization=(), **kwargs):
        """Makes the network, built.

        Args:
            config: its sizes.
            mlp_regularization: L2 of the perceptron's layers, from the first one above
                the rows on; none where it is shorter.
            **kwargs: those of `keras.Model`.
        """
        super().__init__(**kwargs)
        self.config = config
        sizes = (
            (config.factors, config.width)
            if config.separate_tables
            else (config.factors + config.width,)
        )
        self.user_tables = [Table(config.num_users, size) for size in sizes if size]
        self.item_tables = [Table(config.num_items, size) for size in sizes if size]
        penalties = [
            keras.regularizers.L2(strength) if strength else None
            for strength in mlp_regularization
        ]
        penalties += [None] * len(config.layers)
        self.perceptron = [
            layers.Dense(size, "relu", kernel_regularizer=penalty)
            for size, penalty in zip(config.layers[2:], penalties[1:], strict=False)
        ]
        self._first_penalty = penalties[0]
        self.build()

    def build(self, input_shape=None):
        """Makes all weights."""
        config = self.config
        last = 0 if config.kind == "gmf" else config.layers[-1]
        if config.width:
            width, size = config.width, config.layers[1]
            # One matrix, so that its initial range is that of the whole layer.
            self.first_kernel = self.add_weight(
                shape=(2 * width, size),
                initializer="glorot_uniform",
                regularizer=self._first_penalty,
                name="first_kernel",
            )
            self.first_bias = self.add_weight(
                shape=(size,), initializer="zeros", name="first_bias"
            )
            for layer in self.perceptron:
                layer.build((None, size))
                size = layer.units
        for table in (*self.user_tables, *self.item_tables):
            table.build()
        # The last layer sees both parts side by side, in float32: its logits are close.
        self.last_kernel = self.add_weight(
            shape=(config.factors + last,),
            initializer=_lecun_uniform(config.factors + last),
            name="last_kernel",
            autocast=False,
        )
        self.last_bias = self.add_weight(
            shape=(), initializer="zeros", name="last_bias", autocast=False
        )
        self.built = True

    def user_rows(self, users):
        """What the tables hold of users: [..., factors] and [..., width]."""
        return self._parts(self.user_tables, users)

    def item_rows(self, items):
        """What the tables hold of items: [..., factors] and [..., width]."""
        return self._parts(self.item_tables, items)

    def _parts(self, tables, numbers):
        rows = [table(numbers) for table in tables]
        if len(rows) == 2:
            return tuple(rows)
        # A split, whose gradient is one pass; that of two slices would be three.
        return tuple(ops.split(rows[0], [self.config.factors], axis=-1))

    def user_side(self, rows):
        """What a pair needs of a user: [..., factors] and [..., layers[1]]."""
        product, bottom = rows
        if self.config.factors:
            weights = self.last_kernel[: self.config.factors]
            product = ops.cast(product, "float32") * weights
        if self.config.width:
            bottom = _times(bottom, self.first_kernel[: self.config.width])
            # Here, for a batch holds fewer users than items.
            bottom += ops.cast(self.first_bias, bottom.dtype)
        return product, bottom

    def item_side(self, rows):
        """What a pair needs of an item: [..., factors] and [..., layers[1]]."""
        product, bottom = rows
        if self.config.width:
            bottom = _times(bottom, self.first_kernel[self.config.width :])
        return product, bottom

    def pair(self, user, item):
        """Logits of each user with some items.

        Args:
            user: of `user_side`, [batch, ...].
            item: of `item_side`, [batch, items, ...] for items of each user's own, or
                [items, ...] for the same ones.

        Returns:
            float32 [batch, items].
        """
        logits = self.last_bias
        if self.config.factors:
            product = ops.cast(item[0], "float32")
            if len(product.shape) == 2:
                logits += ops.matmul(user[0], ops.transpose(product))
            else:
                logits += _dot(product, user[0])
        if self.config.width:
            x = ops.relu(ops.expand_dims(user[1], 1) + item[1])
            shape = ops.shape(x)
            x = ops.reshape(x, (-1, self.config.layers[1]))
            for layer in self.perceptron:
                x = layer(x)
            weights = self.last_kernel[self.config.factors :]
            found = ops.matmul(ops.cast(x, "float32"), ops.expand_dims(weights, -1))
            logits += ops.reshape(found, shape[:2])
        return logits

    def call(self, inputs):
        """Logits of users with items of their own.

        Args:
            inputs: `user`, whole numbers [batch]; `item`, [batch, items].

        Returns:
            float32 [batch, items].
        """
        user = self.user_side(self.user_rows(inputs["user"]))
        return self.pair(user, self.item_side(self.item_rows(inputs["item"])))


def build_model(config: NcfConfig, mlp_regularization=()) -> NeuMF:
    """A network with fresh weights.

    Inputs: `user`, int32 [batch], and `item`, int32 [batch, items]. Outputs: logits,
    float32 [batch, items]; their sigmoid is the probability that the user takes the
    item.
    """
    assert config.kind in KINDS, config.kind
    return NeuMF(config, mlp_regularization, name="neumf")


def _times(rows, kernel):
    """Rows [..., n] times a matrix [n, m], as one product of two matrices."""
    flat = ops.reshape(rows, (-1, rows.shape[-1]))
    product = ops.matmul(flat, ops.cast(kernel, rows.dtype))
    return ops.reshape(product, (*ops.shape(rows)[:-1], kernel.shape[-1]))


def _dot(rows, vectors):
    """Products of rows [batch, n, size] with one vector each, [batch, size]."""
    if rows.shape[1] is not None and rows.shape[1] <= _FEW:
        return ops.sum(rows * ops.expand_dims(vectors, 1), axis=-1)
    return ops.squeeze(ops.matmul(rows, ops.expand_dims(vectors, -1)), -1)


def _lecun_uniform(fan_in: int):
    limit = (3 / fan_in) ** 0.5
    return keras.initializers.RandomUniform(-limit, limit)
