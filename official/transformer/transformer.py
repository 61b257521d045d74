"""Trains, evaluates and exports the Transformer for translation.

    python -m official.transformer.transformer
    python -m official.transformer.transformer --recipe=multi30k --data_dir=DIR

README.md beside this file is the model's card.
"""

from absl import flags

from official.transformer import recipes
from official.transformer.config import MODEL_SIZES
from official.utils import app
from official.utils.flags import core as flags_core
from official.utils.flags.definer import Definer

DATASETS = ("numbers", "text", "wmt14_en_de")
RECIPES = recipes.RECIPES


def define_flags() -> flags.FlagValues:
    """The shared flags, and those of this main."""
    flag_values = flags_core.shared_flags(DATASETS, "numbers")
    define = Definer(flag_values, "transformer")
    define.choice(
        "model_size", None, MODEL_SIZES, "The network. Default: that of the recipe."
    )
    define.choice(
        "norm",
        None,
        ("pre", "post"),
        "Layer normalisation before each sublayer, as in 2019, or behind it, as in the "
        "paper. Default: pre.",
    )
    for name, place in (
        ("dropout", "embeddings and of what each sublayer gives"),
        ("attention_dropout", "the weights of attention"),
        ("activation_dropout", "the inner layer of feed-forward parts"),
    ):
        define.number(
            name, None, f"Dropout of {place}. Default: the network's, .1.",
            low=0, high=0.99,
        )  # fmt: skip
    define.number(
        "label_smoothing",
        None,
        "Share of the target that is spread over the other pieces. Default: that of "
        "the recipe.",
        low=0,
        high=0.99,
    )
    _define_text(define)
    define_decoding(define)
    define.string(
        "input", None, "File to translate with --mode=predict, a sentence a line."
    )
    define.string("output", None, "File for --mode=predict. Default: the terminal.")
    return flag_values


def _define_text(define: Definer) -> None:
    for side, what in (
        ("train_source", "Training sentences to translate: files or patterns"),
        ("train_target", "Their translations, line by line: files or patterns"),
        ("validation_source", "Sentences for choices: files or patterns"),
        ("validation_target", "Their translations: files or patterns"),
        ("eval_source", "Sentences to report on: files or patterns"),
        ("eval_target", "Their translations: files or patterns"),
    ):
        define.string(
            side, None, f"{what} between commas, below --data_dir; for --dataset=text."
        )
    define.string(
        "vocab_file",
        None,
        "A SentencePiece model, or a subtoken file of 2019. Default: learnt from the "
        "training text.",
    )
    define.integer(
        "vocab_size", None, "Pieces of a vocabulary that is learnt. Default: that of "
        "the recipe.", low=16,
    )  # fmt: skip
    define.choice(
        "vocab_kind",
        "unigram",
        ("unigram", "bpe"),
        "How SentencePiece learns a vocabulary.",
    )
    define.integer(
        "max_length",
        256,
        "Most pieces of a sentence; longer pairs are left out of the training.",
        low=2,
    )


def define_decoding(define: Definer) -> None:
    """Defines how translations are found; `translate` has these flags too."""
    define.integer(
        "beam_size", 4, "Translations that are followed at a time; 1 is greedy.", low=1
    )
    define.number(
        "length_penalty",
        0.6,
        "Alpha: log probabilities are divided by ((5 + length) / 6) ** alpha.",
        low=0,
    )
    define.integer(
        "max_extra_length",
        50,
        "Pieces that a translation may have more than its sentence.",
        low=0,
    )
    define.number(
        "sampling_temperature",
        0.0,
        "Draw pieces at this temperature, by --seed, instead of searching; 0 searches.",
        low=0,
    )
    define.integer(
        "decode_batch_size", 64, "Sentences that are translated at a time.", low=1
    )
    define.integer(
        "n_best", 1, "Translations that are written of each sentence.", low=1
    )


def task_class() -> type:
    """The model's part of a run, a `Task`.

    It is imported here, so that --help and a wrong flag need not wait for TensorFlow.
    """
    from official.transformer.task import TransformerTask

    return TransformerTask


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Does what `--mode` says; see `experiment.run`.

    Args:
        flags_obj: parsed flags, in a notebook from
            `flags_core.make_flags(define_flags, train_epochs=2, ...)`.

    Returns:
        The final metrics: `bleu`, `bleu_char`, `exact_match`, `accuracy` and `loss`.
    """
    from official.utils.training import experiment

    return experiment.run(task_class(), flags_obj, RECIPES)


def main() -> None:
    """The command line."""
    app.main(define_flags, run, RECIPES, __doc__.splitlines()[0])


if __name__ == "__main__":
    main()
