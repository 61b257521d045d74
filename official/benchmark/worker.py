"""A training that another process drives step by step, over its standard streams.

    python -m official.benchmark.worker --target=mnist/instant

The worker writes one JSON object a line to stdout: first `{"batch_size": ...}` once
everything is built, then for each line `{"steps": N}` that it reads from stdin
`{"seconds": ..., "losses": [...]}`, when these steps are done. It ends with its stdin.
Whatever else the process prints goes to stderr.
"""

import json
import os
import sys
import time

from absl import flags

from official.utils import app


def define_flags() -> flags.FlagValues:
    """Flags of the worker."""
    flag_values = flags.FlagValues()
    own = dict(flag_values=flag_values, module_name="worker")
    flags.DEFINE_string("target", "mnist/instant", "The recipe: model/name.", **own)
    flags.DEFINE_integer("seed", 0, "Seed of the training.", **own)
    flags.DEFINE_string("data_dir", None, "Folder of the data set.", **own)
    return flag_values


def run(flags_obj: flags.FlagValues) -> None:
    """Serves until stdin ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    from official.benchmark import steps, suites

    recipe = suites.find(flags_obj.target)
    settings = steps.settings_of(
        recipe, seed=flags_obj.seed, data_dir=flags_obj.data_dir
    )
    training = steps.prepare(recipe, settings)
    batches = training.batches()
    step = 0
    print(json.dumps({"batch_size": settings.batch_size}), file=answers)
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
