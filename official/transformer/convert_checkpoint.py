r"""Converts the Transformer between Hugging Face's MarianMTModel and this project.

    python -m official.transformer.convert_checkpoint --format=hugging_face \
        --input=RUN --output=DIR
    python -m official.transformer.convert_checkpoint --format=garden \
        --input=DIR --output=RUN

`DIR` serves `transformers`, and `RUN` is a run's folder, for `translate --model_dir` or
for more training. What was written is read back, and weights and logits are compared
with those that were given.
"""

import dataclasses
import os
from typing import TYPE_CHECKING, Any

from absl import flags

from official.utils import app
from official.utils.errors import UserError
from official.utils.flags.definer import Definer

if TYPE_CHECKING:  # It brings TensorFlow, which --help need not wait for.
    from official.transformer.model import Transformer

FORMS = ("garden", "hugging_face")
# Of logits: where settings differ that should make no difference, and where 1e-5 is
# added to variances in place of 1e-6 (9e-5 in a trained network of 2 + 2 layers).
_TOLERANCE, _TOLERANCE_OF_EPSILON = 1e-4, 1e-2
_LENGTH = 16


def define_flags() -> flags.FlagValues:
    """Flags of the command."""
    flag_values = flags.FlagValues()
    define = Definer(flag_values, "convert_checkpoint")
    define.string(
        "input",
        None,
        "What to convert; what lies there tells its form. Hugging Face: a folder with "
        "model.safetensors or pytorch_model.bin, or such a file. This project: a run's "
        "folder, of which the weights are taken that translate takes.",
    )
    define.string("output", None, "A new folder.")
    define.choice(
        "format",
        None,
        FORMS,
        "What to write: a run's folder; or model.safetensors and config.json, with the "
        "files of a MarianTokenizer where the vocabulary is a SentencePiece model.",
    )
    define.string(
        "config_file",
        None,
        "The settings of Hugging Face's. Default: config.json beside the weights.",
    )
    define.string(
        "vocab_file",
        None,
        "The vocabulary of Hugging Face's, a SentencePiece model or a subtoken file of "
        "2019. Default: source.spm there, if its ids are those of vocab.json.",
    )
    return flag_values


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Converts a network, checks it, and prints what was done.

    Args:
        flags_obj: parsed flags.

    Returns:
        `tensors`, how many were written, and `max_difference` of the logits.

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

    from official.transformer import marian

    if tf.io.gfile.exists(target):
        raise UserError(
            f"--output={target} exists and is not overwritten; name another"
        )
    weights = _weights_file(source)
    if weights is None:
        for name in ("config_file", "vocab_file"):
            if flags_obj[name].value:
                raise UserError(
                    f"--{name}: a run's folder ({source}) has its own; leave it out"
                )
        model, text = _read_run(source)
    else:
        model = marian.read(weights, config_file)
        text = _read_vocabulary(os.path.dirname(weights), vocab_file, model.config)
    if flags_obj.format == "garden":
        tensors = _write_run(target, model, text)
        written, _ = _read_run(target)
    else:
        tensors = marian.write(target, model, text)
        written = marian.read(os.path.join(target, marian.SAFETENSORS))
    difference = compare(model, written, f"--output={target}")
    config = model.config
    print(
        f"{target}: {tensors} tensors of a Transformer of {config.encoder_layers} + "
        f"{config.decoder_layers} layers, {config.hidden_size} wide, read back with a "
        f"maximal difference of logits of {difference:g}"
    )
    return {"tensors": tensors, "max_difference": difference}


def _weights_file(path: str) -> str | None:
    """A file of Hugging Face's; None for a run's folder."""
    import tensorflow as tf

    from official.bert import hugging_face

    if path.endswith((".safetensors", ".bin")):
        return path
    for name in hugging_face.WEIGHTS:
        if tf.io.gfile.exists(os.path.join(path, name)):
            return os.path.join(path, name)
    if not tf.io.gfile.isdir(os.path.join(path, "checkpoints")):
        raise UserError(
            f"--input={path} is neither a run's folder nor one with "
            f"{' or '.join(hugging_face.WEIGHTS)}"
        )
    return None


def _read_vocabulary(folder: str, vocab_file: str | None, config) -> Any:
    """That of `--vocab_file`, or what lies beside the weights, or None."""
    from official.transformer import marian, text

    found = text.read(vocab_file) if vocab_file else marian.read_text(folder)
    if found is None:
        return None
    source = f"--vocab_file={vocab_file}" if vocab_file else folder
    if found.vocab_size != config.vocab_size:
        raise UserError(
            f"{source}: the vocabulary has {found.vocab_size} pieces and the network "
            f"{config.vocab_size}; give the vocabulary that belongs to it"
        )
    if (config.pad_id, config.eos_id) != (text.PAD, text.EOS):
        raise UserError(
            f"{source}: the vocabulary has padding {text.PAD} and end of sentence "
            f"{text.EOS}, and the network {config.pad_id} and {config.eos_id}; give "
            "the vocabulary that belongs to it"
        )
    return found


# ---- Runs ----


def _read_run(folder: str) -> tuple["Transformer", Any]:
    """The network that a run's folder translates with, in float32, and its vocabulary.

    That is not always the newest checkpoint: the run may average several.
    """
    from official.transformer import transformer
    from official.transformer.model import Transformer
    from official.transformer.task import TransformerTask
    from official.utils.flags import core as flags_core
    from official.utils.training import experiment
    from official.utils.training.variables import named_variables

    found = []

    class Reader(TransformerTask):
        def predict(self, model):
            copy = Transformer(self.config)
            variables = named_variables(copy)
            for name, variable in named_variables(model).items():
                variables[name].assign(variable.value)
            found.append((copy, self.text))

    settings = flags_core.make_flags(
        transformer.define_flags, transformer.RECIPES, mode="predict", model_dir=folder
    )
    experiment.run(Reader, settings, transformer.RECIPES)
    return found[0]


def _write_run(folder: str, model: "Transformer", text: Any) -> int:
    """Writes a checkpoint of step 0, from which a run with Adam could go on.

    Returns:
        The number of the network's tensors.
    """
    if text is None:
        raise UserError(
            "a run's folder holds its vocabulary, and there is none beside the input; "
            "give --vocab_file, or use the network by ids in Python: marian.read and "
            "decoding.decode"
        )
    import tensorflow as tf

    from official.transformer import transformer
    from official.transformer.marian_weights import RANDOM_STATE
    from official.transformer.task import TransformerTask
    from official.utils.flags import core as flags_core
    from official.utils.training.checkpoints import Checkpoints
    from official.utils.training.loop import build_loop
    from official.utils.training.trainer import State
    from official.utils.training.variables import named_variables

    flag_values = flags_core.make_flags(transformer.define_flags, transformer.RECIPES)
    task = TransformerTask(flags_core.resolve(flag_values, transformer.RECIPES))
    task.facts = {
        "config": dataclasses.asdict(model.config),
        "vocabulary": text.to_facts(),
    }
    loop = build_loop(task, tf.distribute.get_strategy(), total_steps=1)
    values = named_variables(model)
    for name, variable in named_variables(loop.model).items():
        variable.assign(values[name].value)
    Checkpoints(os.path.join(folder, "checkpoints")).save(
        named_variables(loop.model, loop.optimizer), vars(State(facts=task.facts))
    )
    return sum(not name.endswith(RANDOM_STATE) for name in values)


# ---- Comparing ----


def compare(before: "Transformer", after: "Transformer", source: str) -> float:
    """Compares a network with what was read of it again.

    Args:
        before: the network as it was given.
        after: as it was written and read; it may have biases of zeros in addition.
        source: where it was written, for messages.

    Returns:
        The largest difference of their logits.

    Raises:
        UserError: a weight differs, or logits do so by more than their settings
            explain: 1e-2 where other numbers are added to variances, else 1e-4, and
            nothing if the settings are the same.
    """
    import numpy as np

    from official.bert.checkpoint_tensors import first
    from official.transformer.marian_weights import RANDOM_STATE
    from official.utils.training.variables import named_variables

    weights, found = (
        {
            name: np.asarray(variable)
            for name, variable in named_variables(model).items()
            if not name.endswith(RANDOM_STATE)
        }
        for model in (before, after)
    )
    remedy = "remove it, and look at the disk and at the weights"
    changed = [
        name
        for name, value in found.items()
        # To the last bit, also where it is not a number.
        if value.tobytes() != weights.get(name, np.zeros_like(value)).tobytes()
    ]
    changed += sorted(weights.keys() - found.keys())
    if changed:
        raise UserError(
            f"{source}: what was written is another when it is read: {len(changed)} "
            f"differ ({first(changed)}); {remedy}"
        )
    difference = float(np.abs(_logits(before) - _logits(after)).max())
    limit = 0 if before.config == after.config else _TOLERANCE
    if before.config.norm_epsilon != after.config.norm_epsilon:
        limit = _TOLERANCE_OF_EPSILON
    # Also where it is not a number.
    if not difference <= limit:
        raise UserError(
            f"{source}: what was written gives other logits when it is read "
            f"(difference {difference:.3g}); {remedy}"
        )
    return difference


def _logits(model):
    """Logits for two rows, the second of which is padded."""
    import numpy as np

    config = model.config
    generator = np.random.default_rng(0)
    ids = generator.integers(config.vocab_size, size=(2, 2, _LENGTH), dtype=np.int32)
    # No padding within a row.
    ids[ids == config.pad_id] = config.eos_id
    ids[:, 1, _LENGTH // 2 :] = config.pad_id
    return np.asarray(model({"inputs": ids[0], "targets": ids[1]}))


def main() -> None:
    """The command line."""
    app.main(define_flags, run, (), __doc__.splitlines()[0])


if __name__ == "__main__":
    main()
