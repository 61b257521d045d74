r"""Converts weights of residual networks between PyTorch, Keras and this project.

    python -m official.vision.image_classification.convert_weights --model=resnet50 \
        --input=FILE.safetensors --output=DIR
    python -m official.vision.image_classification.convert_weights --model=resnet50 \
        --input=RUN --output=FILE.safetensors --naming=huggingface

`DIR` then serves `--init_checkpoint`. What was written is read back, and its logits are
compared with those of the weights that were given.
"""

import os

from absl import flags

from official.utils import app
from official.utils.errors import UserError
from official.vision.image_classification.classifier import MODELS
from official.vision.image_classification.weight_names import PYTORCH_NAMINGS

# Weights fit images of any size; small ones are enough to compare logits.
_IMAGES_SHAPE = (2, 64, 64, 3)


def define_flags() -> flags.FlagValues:
    """Flags of the command."""
    flag_values = flags.FlagValues()
    own = dict(flag_values=flag_values, module_name="convert_weights")
    flags.DEFINE_enum("model", None, MODELS, "The network.", **own)
    flags.DEFINE_string(
        "input",
        None,
        "What to convert: a file of PyTorch (.safetensors) or Keras (.keras, .h5), or "
        "a run's folder or checkpoint of this project (its last weights, not their "
        "moving average).",
        **own,
    )
    flags.DEFINE_string(
        "output",
        None,
        "What to write: a .safetensors file, or a new folder for a checkpoint.",
        **own,
    )
    flags.DEFINE_enum(
        "naming",
        "torchvision",
        PYTORCH_NAMINGS,
        "The names in the .safetensors file; those of torchvision are timm's too. With "
        "huggingface the v1 networks need downsample_in_bottleneck=True in the "
        "ResNetConfig.",
        **own,
    )
    return flag_values


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Converts weights, checks them, and prints what was done.

    Args:
        flags_obj: parsed flags.

    Returns:
        `tensors`, how many were written, and `max_difference` of the logits, 0.

    Raises:
        UserError: a flag is missing, the input is not readable or of another network,
            or the output exists or cannot be written.
    """
    if not (flags_obj.model and flags_obj.input and flags_obj.output):
        raise UserError("--model, --input and --output are needed")
    source, target = map(os.path.expanduser, (flags_obj.input, flags_obj.output))

    import numpy as np
    import tensorflow as tf

    from official.utils.training import checkpoints
    from official.utils.training.trainer import State
    from official.utils.training.variables import named_variables
    from official.utils.weights import pytorch_files
    from official.vision.image_classification import weight_files, weights

    is_file = target.endswith(".safetensors")
    if not is_file and target.endswith(weight_files.SUFFIXES):
        raise UserError(
            f"--output={target}: only .safetensors files and folders are written"
        )
    if tf.io.gfile.exists(target):
        raise UserError(
            f"--output={target} exists and is not overwritten; name another"
        )
    model = _read(flags_obj.model, source)
    if is_file:
        tensors = weights.to_pytorch(model, flags_obj.naming)
        pytorch_files.write_safetensors(target, tensors)
    else:
        tensors = named_variables(model)
        checkpoints.Checkpoints(target).save(tensors, vars(State()))
    written = _read(flags_obj.model, target)
    images = np.random.default_rng(0).normal(size=_IMAGES_SHAPE).astype(np.float32)
    first, second = (np.asarray(each(images)) for each in (model, written))
    difference = float(np.abs(first - second).max())
    # Also where it is not a number.
    if not difference == 0:
        raise UserError(
            f"--output={target}: what was written gives other logits when it is read "
            f"(difference {difference:.3g}); remove it, and look at the disk and at "
            "the weights"
        )
    print(
        f"{target}: {len(tensors)} tensors of {flags_obj.model}, read back with a "
        f"maximal difference of logits of {difference:g}"
    )
    return {"tensors": len(tensors), "max_difference": difference}


def _read(name, path):
    """The network with the weights of a file, a checkpoint or a run."""
    from official.utils.training import checkpoints
    from official.utils.training.variables import named_variables
    from official.vision.image_classification import resnet, weight_files, weights

    def build(num_classes):
        return resnet.build_model(name, num_classes, image_size=_IMAGES_SHAPE[1])

    if path.endswith(weight_files.SUFFIXES):
        found = weight_files.read(path, name)
        model = build(weights.num_classes(found, path))
        values = weights.convert(found, model, new_head=False, source=path)
    else:
        try:
            values = checkpoints.read_initial(path)
        except UserError as error:
            message = str(error).replace("--init_checkpoint", "--input")
            raise UserError(message) from None
        bias = values.get("model/logits/bias")
        if bias is None:
            raise UserError(f"--input={path} is no checkpoint of a residual network")
        model = build(len(bias))
    checkpoints.assign(named_variables(model), values, path)
    return model


if __name__ == "__main__":
    app.main(define_flags, run, (), __doc__.splitlines()[0])
