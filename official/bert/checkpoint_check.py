"""Sees whether two checkpoints hold one network: weights, settings and outputs."""

import keras
import numpy as np

from official.bert import model
from official.bert.checkpoint_names import LOGITS, RANDOM_STATE
from official.bert.checkpoint_tensors import Initial, first
from official.utils.errors import UserError
from official.utils.training.variables import named_variables

_LENGTH = 16
_PICKS = 4


def build_network(initial: Initial) -> keras.Model:
    """The network with its weights.

    Args:
        initial: from `foreign_checkpoints.read_initial`.

    Returns:
        That of `model` which has its heads. A pooler that nothing reads is left out;
        one that is missing is 0.
    """
    config, parts = initial.config, initial.parts
    if "masked_lm" in parts:
        network = model.build_pretraining_model(config, "next_sentence" in parts)
    elif "spans" in parts:
        network = model.build_span_model(config)
    elif "classes" in parts:
        network = model.build_classifier(config, initial.values[LOGITS].shape[1])
    else:
        network = model.build_encoder(config)
    for name, variable in named_variables(network).items():
        if name in initial.values:
            variable.assign(initial.values[name])
        elif not name.endswith(RANDOM_STATE):
            assert name.startswith("model/pooler/"), name
            variable.assign(np.zeros(variable.shape))
    return network


def compare(before: Initial, after: Initial, source: str) -> float:
    """Compares a network with what was read of it again.

    Args:
        before: the network as it was given.
        after: as it was written and read.
        source: where it was written, for messages.

    Returns:
        The largest difference of their outputs, 0.

    Raises:
        UserError: anything differs.
    """
    remedy = "remove it, and look at the disk and at the weights"
    changed = [
        name
        for name in sorted(before.values.keys() | after.values.keys())
        if not _is_same(before.values.get(name), after.values.get(name))
    ]
    changed += [
        name
        for name in ("config", "vocabulary", "lower_case", "has_spans")
        if getattr(before, name) != getattr(after, name)
    ]
    if changed:
        raise UserError(
            f"{source}: what was written is another when it is read: {len(changed)} "
            f"differ ({first(changed)}); {remedy}"
        )
    difference = largest_difference(before, after)
    # Also where it is not a number.
    if not difference == 0:
        raise UserError(
            f"{source}: what was written gives other outputs when it is read "
            f"(difference {difference:.3g}); {remedy}"
        )
    return difference


def _is_same(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    """To the last bit, also where it is not a number."""
    if one is None or other is None or one.shape != other.shape:
        return False
    return np.array_equal(one.view(np.uint32), other.view(np.uint32))


def largest_difference(one: Initial, other: Initial) -> float:
    """The largest difference of what two networks with the same heads give."""
    first_outputs, second_outputs = map(_outputs, (one, other))
    return max(
        float(np.abs(first_outputs[name] - second_outputs[name]).max())
        for name in first_outputs
    )


def _outputs(initial: Initial) -> dict[str, np.ndarray]:
    """Outputs for two rows, the second of which is padded."""
    config = initial.config
    length = min(_LENGTH, config.max_position_embeddings)
    generator = np.random.default_rng(0)
    ids = generator.integers(config.vocab_size, size=(2, length), dtype=np.int32)
    place = np.arange(length, dtype=np.int32)
    inputs = {
        "input_word_ids": ids,
        "input_mask": np.stack([place >= 0, place <= length // 2]).astype(np.int32),
        "input_type_ids": np.stack([place % config.type_vocab_size, 0 * place]),
        "masked_lm_positions": np.zeros((2, 1), np.int32)
        + place[: min(_PICKS, length)],
    }
    network = build_network(initial)
    outputs = network({tensor.name: inputs[tensor.name] for tensor in network.inputs})
    if not isinstance(outputs, dict):
        outputs = {"logits": outputs}
    return {name: np.asarray(value) for name, value in outputs.items()}
