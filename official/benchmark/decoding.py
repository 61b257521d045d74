"""Races the Transformer's beam search against Marian of Hugging Face on PyTorch.

    python -m official.benchmark.decoding
    python -m official.benchmark.decoding --lengths=32,64,128,256 --peers=none

Both have fresh weights of base size and translate the same number of sentences at a
time into translations of one length, with as many beams; each is a process of its own,
and who waits computes nothing. A table gives sentences a second, and what a piece of a
translation costs.
"""

import contextlib
import os
import statistics
import sys

from absl import flags

from official.benchmark import micro_flags, races
from official.utils import app
from official.utils.errors import UserError
from official.utils.logs import console

_DTYPES = ("fp32", "bf16")


def define_flags() -> flags.FlagValues:
    """Flags of the benchmark."""
    flag_values = micro_flags.define_shared_flags(
        "decoding",
        model_dir_help="Folder for what each process says. Default: it is not kept.",
        seconds=5.0,
    )
    own = dict(flag_values=flag_values, module_name="decoding")
    flags.DEFINE_list("lengths", ["32"], "Pieces of a translation.", **own)
    flags.DEFINE_list("dtypes", list(_DTYPES), "Precisions, one after another.", **own)
    flags.DEFINE_list("peers", ["torch"], "Beside ours: torch; or none.", **own)
    flags.DEFINE_integer("vocab_size", 8000, "Pieces of the vocabulary.", **own)
    flags.DEFINE_integer("batch_size", 32, "Sentences at a time.", **own)
    flags.DEFINE_integer("beams", 4, "Beams of the search.", **own)
    return flag_values


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Prints the table.

    Args:
        flags_obj: parsed flags.

    Returns:
        For each precision and length `sentences_per_second_<name>_<dtype>_<length>`,
        and `ratio_to_<peer>_<dtype>_<length>`, the median over the rounds.

    Raises:
        UserError: a flag is wrong, or ours does not run.
    """
    for name, known in (("dtypes", _DTYPES), ("peers", ("torch", "none"))):
        for value in flags_obj[name].value:
            if value not in known:
                raise UserError(f"--{name}={value}: should be among {', '.join(known)}")
    lengths = [_length(text) for text in flags_obj.lengths]
    from official.benchmark import loop, machines

    print(machines.machine().text, flush=True)
    metrics = {}
    rows = [("length", "dtype", "", "sentences/s", "ms a piece", "ours to it")]
    with contextlib.ExitStack() as stack:
        folder = loop.folder_of_logs(flags_obj, stack)
        for length in lengths:
            for dtype in flags_obj.dtypes:
                results = races.race(
                    _entrants(flags_obj, length, dtype, folder),
                    flags_obj.batch_size,
                    flags_obj.rounds,
                    flags_obj.seconds,
                )
                ours = results[0]
                for result in results:
                    if result.failure:
                        rows.append((str(length), dtype, result.name, result.failure))
                        continue
                    key = f"{dtype}_{length}"
                    metrics[f"sentences_per_second_{result.name}_{key}"] = result.rate
                    piece = 1000 * flags_obj.batch_size / result.rate / length
                    ratio = ""
                    if result is not ours:
                        pairs = zip(ours.rates, result.rates, strict=True)
                        found = statistics.median(a / b for a, b in pairs)
                        metrics[f"ratio_to_{result.name}_{key}"] = found
                        ratio = f"{found:.2f}"
                    rows.append(
                        (
                            str(length),
                            dtype,
                            result.name,
                            f"{result.rate:.3g}",
                            f"{piece:.1f}",
                            ratio,
                        )
                    )
    print("\n".join(console.table(rows)), flush=True)
    return metrics


def _length(text: str) -> int:
    # Sentences have 24 pieces; translations are not shorter than these.
    if not text.isdigit() or int(text) < 24:
        raise UserError(f"--lengths={text}: should be whole numbers from 24 on")
    return int(text)


def _entrants(flags_obj, length: int, dtype: str, folder: str) -> list[races.Entrant]:
    from official.benchmark import machines, micro, peers, turns

    common = [
        f"--dtype={dtype}",
        f"--vocab_size={flags_obj.vocab_size}",
        f"--rows={flags_obj.batch_size}",
        f"--beams={flags_obj.beams}",
        f"--output_length={length}",
    ]
    limit = 1800.0

    def start_ours():
        command = [sys.executable, "-m", "official.benchmark.decoding_worker", *common]
        log_path = os.path.join(folder, f"official-{dtype}-{length}.txt")
        return turns.Worker(command, log_path, limit, machines.environment())

    def start_peer(name):
        peer = peers.find("transformer", name)
        cache = os.path.join(micro.cache_folder(), "peers")
        command = [peers.interpreter(peer, cache), peer.program, *common]
        log_path = os.path.join(folder, f"{name}-{dtype}-{length}.txt")
        return turns.Worker(command, log_path, limit, peers.environment())

    entrants = [races.Entrant("official", start_ours, lambda said: True)]
    for name in set(flags_obj.peers) - {"none"}:
        entrants.append(
            races.Entrant(name, lambda name=name: start_peer(name), lambda said: True)
        )
    return entrants


if __name__ == "__main__":
    app.main(define_flags, run, (), __doc__.splitlines()[0])
