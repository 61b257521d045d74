"""A main for tests of the nightly: no TensorFlow, and any end a run can have.

`--recipe` says how the run ends. The environment changes the numbers, so that a test
can make one interpreter differ from another: FAKE_SPEED (examples a second),
FAKE_ACCURACY, FAKE_MEMORY (bytes), FAKE_CRASH (any value).
"""

import json
import os
import pathlib
import signal
import sys
import time
from unittest import mock

from official.utils.logs import results
from official.utils.recipes import Cost, Recipe

ENDS = "good bad crash hang memory interrupted silent slow".split()


def recipes() -> list[Recipe]:
    """A recipe for each end; `slow` is a good one of two seconds."""
    return [
        Recipe(
            name=name,
            model="toy",
            module="official.utils.testing.fake_main",
            size="quick",
            flags={"dataset": "toys"},
            bands={"accuracy": (0.9, 1.0)},
            seeds=(0, 1, 2),
            cost=Cost(seconds=1, memory_gib=0.1, machine="any"),
            source="measured 0000000",
            has_steps=False,
        )
        for name in ENDS
    ]


def known_to_the_nightly() -> mock._patch:
    """A context in which suites find these recipes and no others."""
    return mock.patch(
        "official.benchmark.suites.find_recipes", lambda: {"toy": recipes()}
    )


def main() -> None:
    """Ends as the recipe says."""
    flags = dict(a.lstrip("-").split("=", 1) for a in sys.argv[1:])
    name, seed = flags["recipe"], int(flags["seed"])
    print(f"{name} with seed {seed}", flush=True)
    if name == "crash" or os.environ.get("FAKE_CRASH"):
        raise RuntimeError("a kernel is missing")
    if name == "hang":
        time.sleep(600)
    if name == "memory":
        hoard = []
        while True:
            hoard.append(bytearray(20 * 2**20))
            time.sleep(0.02)
    if name == "interrupted":
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    if name == "slow":
        time.sleep(2)
    if name == "silent":
        return
    accuracy = 0.5 if name == "bad" else float(os.environ.get("FAKE_ACCURACY", 0.95))
    found = dict.fromkeys(results.REQUIRED_KEYS)
    found |= {
        "model": "toy",
        "metrics": {"accuracy": accuracy + seed / 1000},
        "examples_per_second": float(os.environ.get("FAKE_SPEED", 1000)) + seed,
        "startup_seconds": 0.1,
        "peak_memory_bytes": int(os.environ.get("FAKE_MEMORY", 2**27)),
        "flags": {},
    }
    folder = pathlib.Path(flags["model_dir"])
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
