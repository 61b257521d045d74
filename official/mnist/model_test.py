import keras
import numpy as np
import pytest

from official.mnist import dataset, model


def test_number_of_weights():
    network = model.build_model()
    # 5*5*1*32+32 + 5*5*32*32+32 + 1568*1024+1024 + 1024*10+10
    assert network.count_params() == 1_643_370
    assert network.output_shape == (None, 10)


def test_first_outputs_are_pinned():
    """A change of architecture or initialisation shows here."""
    keras.utils.set_random_seed(0)
    network = model.build_model()
    image = np.linspace(0, 1, 28 * 28, dtype=np.float32).reshape(1, 28, 28, 1)
    logits = network.predict(image, verbose=0)[0]
    expected = [
        0.05096999928355217,
        -0.04139000177383423,
        -0.06577000021934509,
        -0.11299999803304672,
        -0.015589999966323376,
        -0.00788000039756298,
        0.0733100026845932,
        0.01245999988168478,
        0.058800000697374344,
        -0.08027999848127365,
    ]
    np.testing.assert_allclose(logits, expected, atol=1e-4)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_compiles_and_fits(policy):
    data = dataset.load("digits", None, seed=0)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        keras.utils.set_random_seed(0)
        network = model.build_model()
    finally:
        keras.config.set_dtype_policy(before)
    network.compile(
        keras.optimizers.Adam(),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    images = data.train.images[..., np.newaxis] / np.float32(255)
    history = network.fit(images, data.train.labels, epochs=2, verbose=0).history
    assert history["accuracy"][-1] > 0.8
    assert network.output.dtype == "float32"
