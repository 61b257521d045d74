"""A training that another process drives step by step, over its standard streams.

    python -m official.benchmark.worker --target=mnist/instant

The worker writes one JSON object a line to stdout: first `{"batch_size": ...,
"parameters": ...}`, the number of weights that are trained, once everything is built
(and `examples_per_step`, the tokens that are no padding, where batches are counted in
tokens), then for each line `{"steps": N}` that it reads from stdin
`{"seconds": ..., "losses": [...]}`, when these steps are done. It ends with its stdin.
Whatever else the process prints goes to stderr.
"""

import json
import math
import os
import sys
import time
from collections.abc import Sequence

from absl import flags

from official.utils import app
from official.utils.errors import UserError


def define_flags() -> flags.FlagValues:
    """Flags of the worker."""
    flag_values = flags.FlagValues()
    own = dict(flag_values=flag_values, module_name="worker")
    flags.DEFINE_string("target", "mnist/instant", "The recipe: model/name.", **own)
    flags.DEFINE_integer("seed", 0, "Seed of the training.", **own)
    flags.DEFINE_string("data_dir", None, "Folder of the data set.", **own)
    flags.DEFINE_string("dtype", None, "Precision. Default: the recipe's.", **own)
    flags.DEFINE_list(
        "flags",
        [],
        "Other flags of the recipe's main, as batch_size=32,use_synthetic_data=true.",
        **own,
    )
    flags.DEFINE_boolean(
        "in_memory", False, "Trains on the first batch again and again.", **own
    )
    return flag_values


def values_of(assignments: Sequence[str]) -> dict[str, str]:
    """Flags of a main from `name=value` each, as `--flags` takes them.

    Raises:
        UserError: one has another form.
    """
    values = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not (name and equals and value):
            raise UserError(
                f"--flags={assignment}: should be name=value, more of them between "
                "commas"
            )
        values[name] = value
    return values


def run(flags_obj: flags.FlagValues) -> None:
    """Serves until stdin ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    from official.benchmark import micro, steps, suites
    from official.utils.data.token_batches import TokenTrainingStream

    recipe = suites.find(flags_obj.target)
    own = dict(seed=flags_obj.seed, data_dir=flags_obj.data_dir, dtype=flags_obj.dtype)
    settings = steps.settings_of(recipe, **own | values_of(flags_obj.flags))
    training = steps.prepare(recipe, settings)
    stream = training.task.training_stream()
    kept = micro.InMemory(stream, 1) if flags_obj.in_memory else stream
    batches = training.loop.batches(kept, 0)
    weights = training.loop.model.trainable_weights
    parameters = sum(math.prod(weight.shape) for weight in weights)
    said = {"batch_size": settings.batch_size, "parameters": parameters}
    if not flags_obj.in_memory and isinstance(stream, TokenTrainingStream):
        said["examples_per_step"] = stream.tokens_per_step
    step = 0
    print(json.dumps(said), file=answers)
    for line in sys.stdin:
        count = json.loads(line)["steps"]
        begun = time.perf_counter()
        history = training.loop.train(batches, step, count)
        seconds = time.perf_counter() - begun
        step += count
        losses = [float(loss) for loss in history["loss"]]
        print(json.dumps({"seconds": seconds, "losses": losses}), file=answers)


if __name__ == "__main__":
    app.main(define_flags, run, (), __doc__.splitlines()[0])
