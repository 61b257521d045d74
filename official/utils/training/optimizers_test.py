import keras
import numpy as np
import pytest

from official.utils.flags.training_set import OPTIMIZERS
from official.utils.logs import console
from official.utils.testing.tasks import settings
from official.utils.training import optimizers
from official.utils.training.variables import named_variables


def rates(name, warmup_steps=0, total_steps=100):
    schedule = optimizers.Schedule(name, 0.5, total_steps, warmup_steps)
    return np.array([float(schedule(step)) for step in range(total_steps)])


def test_constant_rate_stays():
    np.testing.assert_array_equal(rates("constant"), 0.5)


def test_warmup_rises_linearly_to_the_peak():
    found = rates("constant", warmup_steps=10)
    np.testing.assert_allclose(found[:10], 0.05 * np.arange(1, 11), rtol=1e-6)
    np.testing.assert_allclose(found[10:], 0.5)


@pytest.mark.parametrize(
    "name, expected",
    [
        ("linear", {10: 0.5, 55: 0.25, 99: 0.5 / 90}),
        ("cosine", {10: 0.5, 55: 0.25, 99: 0.25 * (1 + np.cos(np.pi * 89 / 90))}),
        ("exponential", {10: 0.5, 55: 0.05, 99: 0.5 * 0.01 ** (89 / 90)}),
        ("inverse_sqrt", {10: 0.5 * np.sqrt(10 / 11), 39: 0.25, 89: 0.5 / 3}),
    ],
)
def test_decay_after_the_warmup(name, expected):
    found = rates(name, warmup_steps=10)
    for step, rate in expected.items():
        assert found[step] == pytest.approx(rate, rel=1e-4), step


def test_one_cycle_peaks_at_three_tenths():
    found = rates("one_cycle")
    assert found[0] == pytest.approx(0.5 / 25)
    assert found.argmax() == 30
    assert found[30] == pytest.approx(0.5)
    assert found[99] < 0.001


def test_step_schedule_falls_at_its_points_after_the_warmup():
    schedule = optimizers.Schedule("step", 0.4, 90, 5, (30 / 90, 60 / 90, 80 / 90))
    found = np.array([float(schedule(step)) for step in range(90)])
    np.testing.assert_allclose(found[:5], 0.08 * np.arange(1, 6), rtol=1e-6)
    np.testing.assert_allclose(found[5:30], 0.4, rtol=1e-6)
    np.testing.assert_allclose(found[30:60], 0.04, rtol=1e-6)
    np.testing.assert_allclose(found[60:80], 0.004, rtol=1e-6)
    np.testing.assert_allclose(found[80:], 0.0004, rtol=1e-6)
    again = optimizers.Schedule.from_config(schedule.get_config())
    assert float(again(33)) == float(schedule(33))


def test_weight_decay_says_which_tensors_it_takes():
    model = keras.Sequential(
        [
            keras.Input((4, 4, 3)),
            keras.layers.Conv2D(5, 3),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dense(2),
        ]
    )
    flags = settings(optimizer="sgd", learning_rate=0.1, weight_decay=0.5)
    optimizer = optimizers.make_optimizer(flags, 100)
    optimizer.build(model.trainable_variables)
    said = optimizers.describe_weight_decay(optimizer, named_variables(model))
    # 3 * 3 * 3 * 5 + 2 * 2 * 5 * 2 weights.
    assert said == (
        "weight decay 0.5 takes 2 kernel (175 weights) and leaves 2 bias, 1 gamma, "
        "1 beta"
    )


def test_schedules_reload_from_their_config():
    schedule = optimizers.Schedule("cosine", 0.5, 100, 10)
    again = optimizers.Schedule.from_config(schedule.get_config())
    assert float(again(33)) == float(schedule(33))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_lowers_a_loss(name):
    optimizer = optimizers.make_optimizer(
        settings(optimizer=name, learning_rate=0.05, clip_norm=1.0), 100
    )
    variable = keras.Variable(np.array([1.0, -2.0], np.float32), name="kernel")
    optimizer.build([variable])
    for _ in range(20):
        optimizer.apply([2 * variable.value])
    assert (np.abs(variable.numpy()) < [1.0, 2.0]).all()


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_weight_decay_spares_biases_and_normalisation(name):
    optimizer = optimizers.make_optimizer(
        settings(optimizer=name, learning_rate=0.1, weight_decay=0.5), 100
    )
    names = ("kernel", "bias", "gamma", "beta")
    variables = [keras.Variable(np.ones(2, np.float32), name=n) for n in names]
    optimizer.build(variables)
    optimizer.apply([np.zeros(2, np.float32)] * 4)
    # Decoupled: the weight loses learning rate * decay of itself.
    np.testing.assert_allclose(variables[0].numpy(), 0.95, rtol=1e-6)
    for variable in variables[1:]:
        np.testing.assert_allclose(variable.numpy(), 1.0)


def test_ftrl_with_a_falling_rate_is_warned_of(capsys):
    console.reset_warnings()
    optimizers.make_optimizer(settings(optimizer="ftrl", schedule="constant"), 10)
    assert capsys.readouterr().err == ""
    optimizers.make_optimizer(settings(optimizer="ftrl", schedule="cosine"), 10)
    assert "--optimizer=ftrl with --schedule=cosine takes all weights towards 0" in (
        capsys.readouterr().err
    )
