"""Times the stream over TFRecord files against a bare `tf.data.TFRecordDataset`.

    python -m official.benchmark.records --folder=DIR

Writes shards of small examples into a new folder below DIR (1.7 GB by default) and
deletes it in the end. Contenders take turns, round by round, in one process; a turn is
one epoch from a fresh iterator, with the time to its first batch. The bare dataset
reads the files in their order; ours is shuffled and can be resumed at any step.
"""

import os
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable

from absl import flags

from official.utils import app


def define_flags() -> flags.FlagValues:
    """Flags of the benchmark."""
    flag_values = flags.FlagValues()
    own = dict(flag_values=flag_values, module_name="records", lower_bound=1)
    flags.DEFINE_string(
        "folder",
        None,
        "Where the shards are written. Default: that of temporary files.",
        flag_values=flag_values,
        module_name="records",
    )
    flags.DEFINE_integer("shards", 200, "Files.", **own)
    flags.DEFINE_integer("records", 10_000, "Records of a file.", **own)
    flags.DEFINE_integer("record_bytes", 784, "Bytes of the feature `image`.", **own)
    flags.DEFINE_integer("batch_size", 256, "Records of a batch.", **own)
    flags.DEFINE_integer("rounds", 5, "Rounds after the warm-up.", **own)
    flags.DEFINE_integer("parallel_calls", 2, "Of our stream.", **own)
    return flag_values


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Prints the table.

    Args:
        flags_obj: parsed flags.

    Returns:
        Ratios to the bare dataset, `read` and `parsed`, and bytes by which the memory
        grew from the first of our epochs to the last, `growth`.
    """
    folder = tempfile.mkdtemp(prefix="official-records-", dir=flags_obj.folder)
    try:
        return _run(flags_obj, folder)
    finally:
        shutil.rmtree(folder)


def _run(flags_obj, folder) -> dict[str, float]:
    import psutil
    import tensorflow as tf

    from official.utils.data import record_files

    begun = time.perf_counter()
    _write(folder, flags_obj)
    written = time.perf_counter() - begun
    begun = time.perf_counter()
    files = record_files.open_files(f"{folder}/part-*")
    print(
        f"TensorFlow {tf.__version__}, {os.cpu_count()} CPUs, {files.num_records:,} "
        f"records of {files.num_bytes / files.num_records:.0f} bytes in "
        f"{len(files.paths)} files, batch {flags_obj.batch_size}; written in "
        f"{written:.1f} s, counted in {time.perf_counter() - begun:.1f} s"
    )
    contenders = _contenders(files, flags_obj)
    process = psutil.Process()
    rates = {name: [] for name in contenders}
    memory = {name: [] for name in contenders}
    for round_ in range(flags_obj.rounds + 1):
        for name, read in contenders.items():
            seconds, peak = read(process)
            if round_:
                rates[name].append(files.num_records / seconds)
                memory[name].append(peak)
    print(f"{'':<14}{'records/s':>11}{'of bare':>9}  {'rounds':<14}memory, MB")
    found = {}
    for name, values in rates.items():
        kind, _, who = name.partition(" ")
        ratios = [a / b for a, b in zip(values, rates[f"{kind} bare"], strict=True)]
        first, last = memory[name][0], memory[name][-1]
        print(
            f"{name:<14}{statistics.median(values):>11,.0f}"
            f"{statistics.median(ratios):>9.2f}  {min(ratios):.2f} to {max(ratios):.2f}"
            f"  {first / 1e6:.0f} to {last / 1e6:.0f}"
        )
        if who == "ours":
            found[kind] = statistics.median(ratios)
            found["growth"] = max(last - first, found.get("growth", 0))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"peak of the process: {peak / 1e6:.0f} MB")
    return found


def _write(folder: str, flags_obj) -> None:
    """Writes examples of `image`, random bytes, and `label`, an int64."""
    import numpy as np
    import tensorflow as tf

    generator = np.random.default_rng(0)
    for shard in range(flags_obj.shards):
        path = f"{folder}/part-{shard:05}-of-{flags_obj.shards:05}"
        content = generator.bytes(flags_obj.record_bytes + flags_obj.records)
        with tf.io.TFRecordWriter(path) as writer:
            for number in range(flags_obj.records):
                image = content[number : number + flags_obj.record_bytes]
                features = {
                    "image": tf.train.Feature(
                        bytes_list=tf.train.BytesList(value=[image])
                    ),
                    "label": tf.train.Feature(
                        int64_list=tf.train.Int64List(value=[number % 10])
                    ),
                }
                example = tf.train.Example(features=tf.train.Features(feature=features))
                writer.write(example.SerializeToString())


def _contenders(files, flags_obj) -> dict[str, Callable]:
    """Functions that read an epoch; they return seconds and the memory seen, bytes."""
    import tensorflow as tf

    from official.utils.data.records import RecordTrainingStream
    from official.utils.data.streams import Share

    spec = {
        "image": tf.io.FixedLenFeature([], tf.string),
        "label": tf.io.FixedLenFeature([], tf.int64),
    }

    def as_read(serialized):
        return {"record": serialized}

    def parsed(serialized):
        example = tf.io.parse_example(serialized, spec)
        return example | {"image": tf.io.decode_raw(example["image"], tf.uint8)}

    def bare(parse=None):
        dataset = tf.data.TFRecordDataset(list(files.paths))
        dataset = dataset.batch(flags_obj.batch_size, drop_remainder=True)
        if parse is not None:
            dataset = dataset.map(parse, num_parallel_calls=tf.data.AUTOTUNE)
        return dataset.prefetch(tf.data.AUTOTUNE)

    def ours(parse):
        return RecordTrainingStream(
            files,
            flags_obj.batch_size,
            0,
            parse,
            parallel_calls=flags_obj.parallel_calls,
        ).dataset(0, Share(1, 0, 1))

    @tf.function
    def drain(iterator, count):
        # As the training loop takes its batches.
        for _ in tf.range(count):
            next(iterator)

    def reader(dataset):
        steps = files.num_records // flags_obj.batch_size
        part = -(-steps // 20)

        def read(process):
            begun, peak = time.perf_counter(), 0
            iterator = iter(dataset)
            for start in range(0, steps, part):
                count = min(part, steps - start)
                drain(iterator, tf.constant(count, tf.int64))
                peak = max(peak, process.memory_info().rss)
            return time.perf_counter() - begun, peak

        return read

    return {
        "read bare": reader(bare()),
        "read ours": reader(ours(as_read)),
        "parsed bare": reader(bare(parsed)),
        "parsed ours": reader(ours(parsed)),
    }


if __name__ == "__main__":
    app.main(define_flags, run, (), __doc__.splitlines()[0])
