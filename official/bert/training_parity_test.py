"""Ten steps of a main against the same steps in PyTorch, on networks of Hugging Face's.

Both begin with the same random weights, get the same batches and drop nothing out.
"""

import dataclasses

import numpy as np
import pytest

from official.bert import config as configs
from official.bert import (
    english,
    run_classifier,
    run_pretraining,
    sequences,
    vocabulary,
)
from official.bert.foreign_checkpoints import read_initial
from official.bert.hugging_face_test import CLASSES
from official.utils.data.streams import Share
from official.utils.distribution import strategies
from official.utils.flags import core as flags_core
from official.utils.run_folder import RunFolder
from official.utils.testing.data import real_data
from official.utils.training.trainer import Trainer
from official.utils.training.variables import named_variables

STEPS = 10
RECIPE = dict(
    optimizer="adamw",
    learning_rate=1e-3,
    beta1=0.9,
    beta2=0.999,
    epsilon=1e-6,
    weight_decay=0.01,
    clip_norm=1.0,
    schedule="linear",
    warmup_steps=3,
    train_steps=STEPS,
    batch_size=16,
    dtype="fp32",
)
MAINS = {"classes": run_classifier, "pretraining": run_pretraining}
# Far below what ten steps of the decay take from a weight: 6e-5 of it.
WEIGHT_TOLERANCE = 2e-6
LOSS_TOLERANCE = 1e-4


def data_flags(kind):
    """Pairs of sentences of several lengths, and the file of their vocabulary."""
    if kind == "classes":
        data_dir = real_data("glue", "MRPC")
        return dict(task="MRPC", data_dir=data_dir, max_seq_length=64)
    # Two masked words in every row: only where rows have equally many does the loss
    # of PyTorch, a mean over words and one over rows, equal ours.
    return dict(max_seq_length=32, short_seq_prob=0.0, max_predictions_per_seq=2)


def pieces_of(kind):
    if kind == "classes":
        return vocabulary.read(real_data("vocab", "bert-uncased", "vocab.txt"))
    return english.vocabulary()


def start_network(kind, folder):
    """Writes one of theirs, whose norms and biases count too, as a folder of theirs."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    pieces = pieces_of(kind)
    config = configs.of_size(
        "tiny",
        len(pieces),
        # Large enough for gradients that are clipped.
        initializer_range=0.05,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    fields = dataclasses.asdict(config) | {"hidden_act": "gelu"}
    torch.manual_seed(0)
    network = getattr(transformers, CLASSES[kind])(transformers.BertConfig(**fields))
    for parameter in network.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.1 * torch.randn_like(parameter)
    network.save_pretrained(folder)
    vocabulary.write(f"{folder}/vocab.txt", pieces)


def load(kind, folder):
    import transformers

    return getattr(transformers, CLASSES[kind]).from_pretrained(folder).train()


# ---- Our steps ----


@dataclasses.dataclass(frozen=True, eq=False)
class Ours:
    """What a main did.

    Attributes:
        losses: float32 [steps].
        weights: at the end, by structural name.
        batches: of the steps.
    """

    losses: np.ndarray
    weights: dict[str, np.ndarray]
    batches: list[dict[str, np.ndarray]]


def train_ours(kind, start, folder):
    main = MAINS[kind]
    values = RECIPE | data_flags(kind) | dict(init_checkpoint=start)
    flags = flags_core.make_flags(main.define_flags, main.RECIPES, **values)
    settings = flags_core.resolve(flags, main.RECIPES)
    task = main.task_class()(settings)
    task.load()
    run_folder = RunFolder(folder)
    run_folder.create()
    trainer = Trainer(task, strategies.make_strategy(settings), run_folder)
    trainer.prepare()
    stream = task.training_stream()
    history = trainer.loop.train(trainer.loop.batches(stream, 0), 0, STEPS)
    weights = {
        name: variable.numpy()
        for name, variable in named_variables(trainer.loop.model).items()
    }
    batches = stream.dataset(0, Share(1, 0, 1)).take(STEPS).as_numpy_iterator()
    return Ours(history["loss"], weights, list(batches))


# ---- Their steps ----


def their_batch(batch):
    """A batch in the words of Hugging Face."""
    import torch

    labels = {}
    if "label" in batch:
        inputs = sequences.network_inputs(
            batch["ids"], batch["ids_length"], batch["segment_start"]
        )
        labels["labels"] = batch["label"]
    else:
        inputs = batch
        assert batch["masked_lm_weights"].shape[1] == 2
        assert batch["masked_lm_weights"].all()
        hidden = np.full(batch["input_mask"].shape, -100)
        rows = np.arange(len(hidden))[:, np.newaxis]
        hidden[rows, batch["masked_lm_positions"]] = batch["masked_lm_ids"]
        labels["labels"] = hidden
        labels["next_sentence_label"] = batch["next_sentence_labels"]
    theirs = labels | {
        "input_ids": inputs["input_word_ids"],
        "attention_mask": inputs["input_mask"],
        "token_type_ids": inputs["input_type_ids"],
    }
    return {k: torch.tensor(np.asarray(value)).long() for k, value in theirs.items()}


def rate_factor(step, warmup_steps):
    """The schedule, written down again: up to 1, then down to 0 at the end."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return (STEPS - step) / (STEPS - warmup_steps)


def train_theirs(network, batches, recipe, spares=True):
    """The recipe with what PyTorch has.

    Returns:
        The losses and the norms of the gradients, of each step.
    """
    import torch

    parameters = list(network.parameters())
    matrices = [parameter for parameter in parameters if parameter.ndim > 1]
    vectors = [parameter for parameter in parameters if parameter.ndim == 1]
    decay = recipe["weight_decay"]
    optimizer = torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": decay},
            {"params": vectors, "weight_decay": 0.0 if spares else decay},
        ],
        lr=recipe["learning_rate"],
        betas=(recipe["beta1"], recipe["beta2"]),
        eps=recipe["epsilon"],
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: rate_factor(step, recipe["warmup_steps"])
    )
    losses, norms = [], []
    for batch in batches:
        loss = network(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, recipe["clip_norm"])
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        norms.append(norm.item())
    return np.array(losses), np.array(norms)


def losses_without_training(network, batches):
    import torch

    with torch.no_grad():
        return np.array([network(**batch).loss.item() for batch in batches])


def greatest_differences(ours, kind, folder, recipe, work, **options):
    """Trains theirs; of losses and of final weights, how far they are from ours.

    Returns:
        Both differences, and theirs: losses, losses without training, and norms.
    """
    network = load(kind, folder)
    batches = [their_batch(batch) for batch in ours.batches]
    untrained = losses_without_training(network, batches)
    losses, norms = train_theirs(network, batches, recipe, **options)
    network.save_pretrained(work)
    weights = read_initial(str(work)).values
    assert weights.keys() == ours.weights.keys()
    of_weights = max(np.abs(weights[k] - ours.weights[k]).max() for k in weights)
    of_losses = np.abs(losses - ours.losses).max()
    return of_losses, of_weights, (losses, untrained, norms)


@pytest.mark.parametrize("kind", MAINS)
def test_ten_steps(kind, tmp_path):
    start = str(tmp_path / "start")
    start_network(kind, start)
    ours = train_ours(kind, start, str(tmp_path / "ours"))
    of_losses, of_weights, theirs = greatest_differences(
        ours, kind, start, RECIPE, tmp_path / "theirs"
    )
    losses, untrained, norms = theirs
    print(f"{kind}: losses {losses}, without training {untrained}, norms {norms}")
    print(f"losses differ by {of_losses:.1e}, weights by {of_weights:.1e}")
    # The training counts, and so does the clipping.
    assert np.abs(losses - untrained).max() > 0.05
    assert norms.max() > 1
    assert of_losses < LOSS_TOLERANCE
    assert of_weights < WEIGHT_TOLERANCE


@pytest.mark.slow
def test_another_recipe_is_told_apart(tmp_path):
    """Each part of the recipe shows in the losses or in the weights."""
    start = str(tmp_path / "start")
    start_network("pretraining", start)
    ours = train_ours("pretraining", start, str(tmp_path / "ours"))
    for changes, options, shows_in_losses in (
        (dict(clip_norm=np.inf), {}, True),
        (dict(warmup_steps=2), {}, True),
        (dict(beta2=0.99), {}, True),
        (dict(epsilon=3e-5), {}, True),
        (dict(weight_decay=0.0), {}, False),
        ({}, dict(spares=False), False),
    ):
        of_losses, of_weights, _ = greatest_differences(
            ours, "pretraining", start, RECIPE | changes, tmp_path / "other", **options
        )
        print(f"{changes or options}: {of_losses:.1e}, weights {of_weights:.1e}")
        assert of_weights > WEIGHT_TOLERANCE
        assert not shows_in_losses or of_losses > LOSS_TOLERANCE
