import numpy as np
import tensorflow as tf

from official.utils.data import seeded


def seeds_of(count, seed=7):
    numbers = np.arange(count, dtype=np.int64)
    return np.stack([np.full_like(numbers, seed), numbers], axis=1)


def splitmix_with_integers(seed, count, purpose):
    """The numbers of `uniform` by Python's integers."""
    limit = 2**64

    def hash_(value):
        value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 % limit
        value = (value ^ value >> 27) * 0x94D049BB133111EB % limit
        return value ^ value >> 31

    golden = 0x9E3779B97F4A7C15
    first, second = (int(number) % limit for number in seed)
    state = hash_(hash_((first + purpose * golden) % limit) ^ second)
    return [
        (hash_((state + number * golden) % limit) >> 40) / 2**24
        for number in range(1, count + 1)
    ]


def test_splitmix_is_the_published_one():
    # The first numbers of the generator with the state 1234567.
    golden = 0x9E3779B97F4A7C15
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    states = [(1234567 + number * golden) % 2**64 for number in (1, 2, 3)]
    hashes = seeded._hash(tf.constant(states, tf.uint64))
    assert hashes.numpy().tolist() == expected


def test_uniform_numbers():
    seeds = np.array([[0, 0], [1, -1], [2**62, 5], [-3, 2**40]], np.int64)
    expected = [splitmix_with_integers(seed, 5, 2) for seed in seeds]
    found = seeded.uniform(seeds, 5, 2).numpy()
    np.testing.assert_array_equal(found, np.array(expected, np.float32))
    many = seeded.uniform(seeds_of(50_000), 2, 3).numpy()
    assert many.min() >= 0 and many.max() < 1
    assert abs(many.mean() - 0.5) < 0.004
    assert abs(many.var() - 1 / 12) < 0.002
    # Neither neighbours in a row nor in a column, nor uses, know of each other.
    other = seeded.uniform(seeds_of(50_000), 1, 4).numpy()[:, 0]
    pairs = [many.T, (many[1:, 0], many[:-1, 0]), (many[:, 0], other)]
    for first, second in pairs:
        assert abs(np.corrcoef(first, second)[0, 1]) < 0.02
