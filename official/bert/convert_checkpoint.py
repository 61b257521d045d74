r"""Converts checkpoints of BERT between TF1, Hugging Face and this project.

    python -m official.bert.convert_checkpoint --format=garden \
        --input=uncased_L-12_H-768_A-12 --output=DIR
    python -m official.bert.convert_checkpoint --format=hugging_face \
        --input=RUN --output=DIR

`DIR` then serves `--init_checkpoint`, `transformers` or the code of 2018. The mains
read all three forms, so that they need no conversion. What was written is read back,
and weights, settings and outputs are compared with those that were given.
"""

import os

from absl import flags

from official.bert.checkpoint_names import FORMS
from official.utils import app
from official.utils.errors import UserError
from official.utils.flags.definer import Definer


def define_flags() -> flags.FlagValues:
    """Flags of the command."""
    flag_values = flags.FlagValues()
    define = Definer(flag_values, "convert_checkpoint")
    define.string(
        "input",
        None,
        "What to convert; what lies there tells its form. TF1: a folder with "
        "bert_model.ckpt, or the prefix of a checkpoint. Hugging Face: a folder with "
        "model.safetensors or pytorch_model.bin, or such a file. This project: a run's "
        "folder, or the prefix of a checkpoint.",
    )
    define.string("output", None, "A new folder.")
    define.choice(
        "format",
        None,
        FORMS,
        "What to write: bert_model.ckpt, bert_config.json and vocab.txt; "
        "model.safetensors, config.json and vocab.txt; or a checkpoint of this "
        "project.",
    )
    define.string(
        "config_file",
        None,
        "The settings of the input. Default: bert_config.json or config.json beside "
        "it, or what the checkpoint holds.",
    )
    define.string(
        "vocab_file",
        None,
        "The vocabulary of the input. Default: vocab.txt beside it, or what the "
        "checkpoint holds.",
    )
    return flag_values


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Converts a checkpoint, checks it, and prints what was done.

    Args:
        flags_obj: parsed flags.

    Returns:
        `tensors`, how many were written, and `max_difference` of the outputs, 0.

    Raises:
        UserError: a flag is missing, the input is not readable or of another network,
            or the output exists or cannot be written.
    """
    if not (flags_obj.input and flags_obj.output and flags_obj.format):
        raise UserError("--input, --output and --format are needed")
    source, target, config_file, vocab_file = (
        os.path.expanduser(path) if path else None
        for path in (
            flags_obj.input,
            flags_obj.output,
            flags_obj.config_file,
            flags_obj.vocab_file,
        )
    )

    import tensorflow as tf

    from official.bert import checkpoint_check, foreign_checkpoints

    if tf.io.gfile.exists(target):
        raise UserError(
            f"--output={target} exists and is not overwritten; name another"
        )
    initial = foreign_checkpoints.read_initial(source, config_file, vocab_file)
    tensors = foreign_checkpoints.write(target, initial, flags_obj.format)
    written = foreign_checkpoints.read_initial(target)
    difference = checkpoint_check.compare(initial, written, f"--output={target}")
    if initial.vocabulary is None:
        print(f"{target} has no vocabulary; --vocab_file adds one")
    if flags_obj.format == "tf1" and initial.config.hidden_act == "gelu_erf":
        print(
            "hidden_act is the exact gelu, which TF1's code does not have: "
            'bert_config.json calls it "gelu_erf", and "gelu" there is the '
            "approximation by tanh"
        )
    print(
        f"{target}: {tensors} tensors of {_describe(initial)}, read back with a "
        f"maximal difference of outputs of {difference:g}"
    )
    return {"tensors": tensors, "max_difference": difference}


def _describe(initial) -> str:
    config, heads = initial.config, sorted(initial.parts)
    with_heads = f" with {', '.join(heads)}" if heads else ""
    return (
        f"BERT of {config.num_hidden_layers} layers, {config.hidden_size} wide"
        f"{with_heads}"
    )


if __name__ == "__main__":
    app.main(define_flags, run, (), __doc__.splitlines()[0])
