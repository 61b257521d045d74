"""Speaks as a peer, and says that a step takes a time of its own."""

import argparse
import json
import sys
import threading
import time

parser = argparse.ArgumentParser()
parser.add_argument("--batch_size", type=int, default=4)
parser.add_argument("--dtype")
parser.add_argument("--step_seconds", type=float, default=0.5)
parser.add_argument("--fails_at", type=int, default=-1)
parser.add_argument("--is_restless", action="store_true")
options, _ = parser.parse_known_args()


def _spin():
    while True:
        pass


if options.is_restless:
    threading.Thread(target=_spin, daemon=True).start()
said = {"batch_size": options.batch_size, "parameters": 1643370}
print(json.dumps(said | {"versions": {"other": "1.2"}}), flush=True)
for number, line in enumerate(sys.stdin):
    if number == options.fails_at:
        raise MemoryError("no more room")
    time.sleep(0.2)
    seconds = json.loads(line)["steps"] * options.step_seconds
    print(json.dumps({"seconds": seconds}), flush=True)
