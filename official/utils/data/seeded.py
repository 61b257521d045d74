"""Uniform numbers that are pure functions of seeds, one seed a row.

TensorFlow's stateless operations take one seed for a whole tensor. Here each row of a
batch has its own, so that a row gets the same numbers wherever in a batch, on whichever
replica and in whichever run it stands.
"""

import tensorflow as tf

# Steele, Lea and Flood, 2014, https://doi.org/10.1145/2660193.2660195: the odd number
# nearest to 2^64 divided by the golden ratio, and the factors of Stafford's variant 13.
_GOLDEN = 0x9E3779B97F4A7C15
_FACTORS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


def uniform(seeds: tf.Tensor, count: int, purpose: int) -> tf.Tensor:
    """Uniform numbers of seeds, by SplitMix64, whose state is hashed from the seed.

    Args:
        seeds: int64 [..., 2].
        count: how many numbers a seed gives.
        purpose: a small number; what is drawn for one says nothing about another.

    Returns:
        float32 [..., count], from 0 up to, without, 1.
    """
    seeds = tf.bitcast(seeds, tf.uint64)
    state = _hash(seeds[..., 0] + _as_uint64(purpose * _GOLDEN))
    state = _hash(tf.bitwise.bitwise_xor(state, seeds[..., 1]))
    steps = [_as_uint64(number * _GOLDEN) for number in range(1, count + 1)]
    bits = _hash(state[..., tf.newaxis] + tf.stack(steps))
    # The upper 24 bits, as many as float32 has.
    return tf.cast(_shift(bits, 40), tf.float32) * 2.0**-24


def _hash(value):
    for shift, factor in zip((30, 27), _FACTORS, strict=True):
        value = tf.bitwise.bitwise_xor(value, _shift(value, shift))
        value *= _as_uint64(factor)
    return tf.bitwise.bitwise_xor(value, _shift(value, 31))


def _shift(value, bits: int):
    return tf.bitwise.right_shift(value, _as_uint64(bits))


def _as_uint64(value: int):
    return tf.constant(value % 2**64, tf.uint64)
