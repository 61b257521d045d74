"""Times a main from the start of its process to the end of its first training step.

    python -m official.benchmark.startup

Each round starts a process that only imports TensorFlow and Keras, and one that trains
MNIST for one step; the table gives medians and what the second takes on top.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile

from absl import flags

from official.utils import app

# Seconds since the start of the process, as the operating system has it.
_IMPORT = (
    "import time, tensorflow, keras, psutil; "
    "print(time.time() - psutil.Process().create_time())"
)


def define_flags() -> flags.FlagValues:
    """Flags of the benchmark."""
    flag_values = flags.FlagValues()
    flags.DEFINE_integer(
        "rounds",
        5,
        "Rounds after the warm-up.",
        lower_bound=1,
        flag_values=flag_values,
        module_name="startup",
    )
    return flag_values


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Prints the table.

    Args:
        flags_obj: parsed flags.

    Returns:
        Medians in seconds: `import`, `first_step` and `own`, their difference.
    """
    imports, first_steps = [], []
    for round_number in range(flags_obj.rounds + 1):
        import_seconds = float(_output([sys.executable, "-c", _IMPORT]))
        first_step_seconds = _seconds_to_first_step()
        if round_number:  # The first one reads everything from the disk.
            imports.append(import_seconds)
            first_steps.append(first_step_seconds)
    own = [all_ - part for all_, part in zip(first_steps, imports, strict=True)]
    found = {
        "import": statistics.median(imports),
        "first_step": statistics.median(first_steps),
        "own": statistics.median(own),
    }
    share = found["own"] / found["first_step"]
    print(f"{'what':<44}{'median s':>9}  rounds")
    for name, values in (
        ("import of TensorFlow and Keras", imports),
        ("process start to first step", first_steps),
        ("of it not the import", own),
    ):
        spread = f"{min(values):.2f} to {max(values):.2f}"
        print(f"{name:<44}{statistics.median(values):>9.2f}  {spread}")
    print(f"{'share that is not the import':<44}{share:>9.0%}")
    return found


def _seconds_to_first_step() -> float:
    with tempfile.TemporaryDirectory() as folder:
        _output(
            [
                *(sys.executable, "-m", "official.mnist.mnist", "--mode=train"),
                *("--train_steps=1", f"--model_dir={folder}/run"),
            ]
        )
        with open(os.path.join(folder, "run", "results.json")) as file:
            return json.load(file)["startup_seconds"]


def _output(command: list[str]) -> str:
    return subprocess.run(
        command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ).stdout.decode()


if __name__ == "__main__":
    app.main(define_flags, run, (), __doc__.splitlines()[0])
