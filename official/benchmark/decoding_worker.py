"""Translates made-up sentences again and again, driven by another process.

It speaks as `official.benchmark.worker` does. The network has fresh weights and is as
large as `--model_size`; all translations come out `--output_length` long, since a
network that has learnt nothing hardly ends one.
"""

import json
import math
import os
import sys
import time

from absl import flags

from official.utils import app


def define_flags() -> flags.FlagValues:
    """Flags of the worker."""
    flag_values = flags.FlagValues()
    own = dict(flag_values=flag_values, module_name="decoding_worker")
    flags.DEFINE_string("model_size", "base", "The network.", **own)
    flags.DEFINE_integer("vocab_size", 8000, "Pieces.", **own)
    flags.DEFINE_integer("rows", 32, "Sentences at a time.", **own)
    flags.DEFINE_integer("beams", 4, "Beams of the search.", **own)
    flags.DEFINE_integer("input_length", 24, "Pieces of a sentence.", **own)
    flags.DEFINE_integer("output_length", 32, "Pieces of a translation.", **own)
    flags.DEFINE_string("dtype", "fp32", "fp32 or bf16.", **own)
    flags.DEFINE_integer("threads", 0, "TensorFlow's; 0: as many as cores.", **own)
    return flag_values


def run(flags_obj: flags.FlagValues) -> None:
    """Serves until stdin ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    import keras
    import numpy as np
    import tensorflow as tf

    from official.transformer import config, decoding
    from official.transformer.model import Transformer
    from official.utils.training import precision

    tf.config.threading.set_intra_op_parallelism_threads(flags_obj.threads)
    tf.config.threading.set_inter_op_parallelism_threads(flags_obj.threads)
    keras.utils.set_random_seed(0)
    with precision.policy(flags_obj.dtype):
        model = Transformer(config.of_size(flags_obj.model_size, flags_obj.vocab_size))
    generator = np.random.default_rng(0)
    shape = (flags_obj.rows, flags_obj.input_length)
    inputs = generator.integers(2, flags_obj.vocab_size, shape).astype(np.int32)
    inputs[:, -1] = model.config.eos_id
    options = decoding.DecodingOptions(
        flags_obj.beams,
        max_extra_length=flags_obj.output_length - flags_obj.input_length,
    )
    search = tf.function(
        lambda inputs: decoding.decode(model, inputs, options),
        input_signature=[tf.TensorSpec([None, None], tf.int32)],
        autograph=False,
    )
    found = search(inputs)["outputs"]
    assert found.shape[2] == flags_obj.output_length, found.shape
    parameters = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    said = {"batch_size": flags_obj.rows, "parameters": parameters}
    print(json.dumps(said), file=answers)
    for line in sys.stdin:
        count = json.loads(line)["steps"]
        begun = time.perf_counter()
        for _ in range(count):
            search(inputs)["scores"].numpy()
        seconds = time.perf_counter() - begun
        print(json.dumps({"seconds": seconds}), file=answers)


if __name__ == "__main__":
    app.main(define_flags, run, (), __doc__.splitlines()[0])
