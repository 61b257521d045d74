"""Times the SavedModel of a text model, as a server would call it.

    python -m official.benchmark.text_serving --saved_model=DIR --input=lines.txt

Lines of the file go to `serving_default(text)` in batches of each of `--batch_sizes`,
one request after the other; a table says how many texts a second are answered and how
long a request takes. The model is loaded with TensorFlow alone; nothing of the project
is imported for it.
"""

import time
from collections.abc import Sequence

from absl import flags

from official.benchmark import micro_flags
from official.benchmark.tokenizing import batch_size, read_lines
from official.utils import app
from official.utils.errors import UserError
from official.utils.logs import console


def define_flags() -> flags.FlagValues:
    """Flags of the benchmark."""
    flag_values = micro_flags.define_shared_flags("text_serving", seconds=5.0)
    own = dict(flag_values=flag_values, module_name="text_serving")
    flags.DEFINE_string("saved_model", None, "Folder of the SavedModel.", **own)
    flags.DEFINE_string("input", None, "Text in UTF-8, a line each.", **own)
    flags.DEFINE_list("batch_sizes", ["1", "32"], "Texts of a request.", **own)
    return flag_values


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Prints the table.

    Args:
        flags_obj: parsed flags.

    Returns:
        For each batch size `texts_per_second_<size>`, `latency_ms_<size>`, the median,
        and `latency_ms_p99_<size>`.

    Raises:
        UserError: a file is missing, or the model takes something else than `text`.
    """
    for name in ("saved_model", "input"):
        if not flags_obj[name].value:
            raise UserError(f"--{name} is missing")
    sizes = [batch_size(text) for text in flags_obj.batch_sizes]
    lines = read_lines(flags_obj.input)
    serve = _load(flags_obj.saved_model)
    metrics = {}
    rows = [("batch", "texts/s", "median ms", "99 % ms", "requests")]
    for size in sizes:
        seconds = _latencies(serve, lines, size, flags_obj.rounds * flags_obj.seconds)
        rate = size * len(seconds) / sum(seconds)
        median = 1000 * _quantile(seconds, 0.5)
        slow = 1000 * _quantile(seconds, 0.99)
        metrics |= {
            f"texts_per_second_{size}": rate,
            f"latency_ms_{size}": median,
            f"latency_ms_p99_{size}": slow,
        }
        rows.append(
            (
                str(size),
                f"{rate:,.0f}",
                f"{median:.2f}",
                f"{slow:.2f}",
                f"{len(seconds):,}",
            )
        )
    print("\n".join(console.table(rows)), flush=True)
    return metrics


def _load(path: str):
    from official.benchmark import saved_model_client

    try:
        serve = saved_model_client.load(path).signatures["serving_default"]
    except (OSError, KeyError, ImportError) as error:
        raise UserError(f"--saved_model={path} cannot be loaded: {error}") from None
    inputs = sorted(serve.structured_input_signature[1])
    if inputs != ["text"]:
        raise UserError(
            f"--saved_model={path} takes {', '.join(inputs)}, where text is expected"
        )
    return serve


def _latencies(serve, lines: Sequence[str], size: int, limit: float) -> list[float]:
    """Seconds of each request, after as many as there are lines to warm up with."""
    import tensorflow as tf

    starts = range(0, max(1, len(lines) - size + 1), size)
    batches = [tf.constant(lines[start : start + size]) for start in starts]
    # Of all lengths once: TensorFlow chooses kernels by shape.
    for batch in batches[:256]:
        serve(text=batch)
    seconds: list[float] = []
    until = time.perf_counter() + limit
    while not seconds or time.perf_counter() < until:
        batch = batches[len(seconds) % len(batches)]
        begun = time.perf_counter()
        for output in serve(text=batch).values():
            output.numpy()
        seconds.append(time.perf_counter() - begun)
    return seconds


def _quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


if __name__ == "__main__":
    app.main(define_flags, run, (), __doc__.splitlines()[0])
