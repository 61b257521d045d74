"""Flags that the mains of BERT share."""

from absl import flags

from official.bert.config import MODEL_SIZES
from official.utils.flags.definer import Definer


def define_bert(flag_values: flags.FlagValues, max_seq_length: int = 128) -> Definer:
    """Defines what network there is and how it reads text.

    Args:
        flag_values: what the flags are added to.
        max_seq_length: the default of that flag.

    Returns:
        What a main adds its own flags with, under the same heading.
    """
    define = Definer(flag_values, "bert")
    define.choice(
        "model_size",
        None,
        MODEL_SIZES,
        "The network, by name or layers/width. Default: that of --init_checkpoint or "
        "--bert_config_file; base with --vocab_file; tiny where the vocabulary is "
        "learnt.",
    )
    define.string(
        "bert_config_file", None, "bert_config.json of a network, in place of a size."
    )
    define.string(
        "vocab_file",
        None,
        "vocab.txt, a word piece a line. Default: that of --init_checkpoint, else one "
        "learnt from the training text.",
    )
    define.integer(
        "vocab_size", None, "Pieces of a vocabulary that is learnt. Default: 8000.",
        low=100,
    )  # fmt: skip
    define.boolean(
        "lower_case",
        None,
        "Read text in lower case and without accents. Default: as --init_checkpoint "
        "does, else true.",
    )
    define.integer(
        "max_seq_length",
        max_seq_length,
        "Most word pieces of a sequence; what is longer is cut.",
        low=8,
    )
    define.boolean(
        "pad_to_max_length",
        False,
        "Random batches, padded to --max_seq_length, as on a TPU. Else batches hold "
        "sequences of like lengths and are padded to their longest.",
    )
    define.number(
        "hidden_dropout", None, "Dropout of hidden states. Default: the network's, .1.",
        low=0, high=0.99,
    )  # fmt: skip
    define.number(
        "attention_dropout",
        None,
        "Dropout of the weights of attention. Default: the network's, .1.",
        low=0,
        high=0.99,
    )
    define.number(
        "layer_decay",
        1.0,
        "What the learning rate is multiplied by from each block to the one below it.",
        low=0,
        high=1,
    )
    define.boolean(
        "recompute",
        False,
        "Compute the inside of each block again for the gradients: less memory, more "
        "time.",
    )
    return define
