import json
import os

import numpy as np
import pytest
import tensorflow as tf

from official.utils.data import record_counts, record_files, records
from official.utils.data.records import RecordEvaluationStream, RecordTrainingStream
from official.utils.data.streams import Share
from official.utils.errors import UserError
from official.utils.testing.errors import message_of

ONE = Share(1, 0, 1)


def write(path, ids, compression="", size=8):
    """A file whose records are numbers, with zeros up to `size` bytes."""
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for number in ids:
            writer.write(int(number).to_bytes(8, "little") + bytes(size - 8))
    return str(path)


def shards(folder, counts, compression="", size=8):
    """Files with these counts, their records numbered from 0 through all files."""
    ends = np.cumsum(counts)
    for shard, (count, end) in enumerate(zip(counts, ends, strict=True)):
        name = f"a-{shard:05}-of-{len(counts):05}"
        write(folder / name, range(end - count, end), compression, size)
    return record_files.open_files(f"{folder}/a-*")


def parse(serialized):
    return {"id": tf.io.decode_raw(serialized, tf.int64)[:, 0]}


def training(files, batch_size, seed=0, **options):
    return RecordTrainingStream(files, batch_size, seed, parse, **options)


def ids(stream, start, number, share=ONE):
    """[number * local, rows]"""
    found = stream.dataset(start, share).take(number * share.local)
    return np.array([batch["id"] for batch in found.as_numpy_iterator()])


COUNTS = [30, 7, 40, 1, 38]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """116 records in 5 shards of different sizes."""
    return shards(tmp_path_factory.mktemp("files"), COUNTS)


@pytest.fixture(scope="module", params=["", "GZIP", "ZLIB"])
def any_files(request, tmp_path_factory):
    """The same, of every compression."""
    return shards(tmp_path_factory.mktemp("any"), COUNTS, request.param)


def part_of(files, which):
    """The mask of a part: None for all, or one of the two of a split."""
    return None if which is None else record_files.split(files, 20, seed=1)[which]


# ---- Training ----


@pytest.mark.parametrize("which", [None, 0])
def test_each_epoch_holds_every_example_once_in_another_order(any_files, which):
    keep = part_of(any_files, which)
    stream = training(any_files, 4, keep=keep, window=24)
    expected = np.arange(116) if keep is None else np.flatnonzero(keep)
    steps = len(expected) // 4
    assert stream.steps_per_epoch == steps
    epochs = [ids(stream, steps * epoch, steps).ravel() for epoch in range(3)]
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), expected)
    assert (epochs[0] != epochs[1]).any() and (epochs[1] != epochs[2]).any()


@pytest.mark.parametrize("which", [None, 0])
def test_any_step_is_the_same_wherever_the_stream_starts(any_files, which):
    stream = training(any_files, 5, seed=3, keep=part_of(any_files, which), window=20)
    whole = ids(stream, 0, 60)
    for start in (1, 4, 18, 23, 45):
        np.testing.assert_array_equal(ids(stream, start, 1)[0], whole[start])
    np.testing.assert_array_equal(ids(stream, 7, 50), whole[7:57])
    other = training(any_files, 5, seed=4, keep=part_of(any_files, which), window=20)
    assert (ids(other, 0, 5) != whole[:5]).any()


def test_remainder_is_dropped_but_not_the_same_examples_each_epoch(tmp_path):
    stream = training(shards(tmp_path, [25]), 10, window=10)
    assert stream.steps_per_epoch == 2
    epochs = ids(stream, 0, 40).reshape(20, 20)
    assert all(len(set(epoch)) == 20 for epoch in epochs)
    assert set(epochs.ravel()) == set(range(25))


@pytest.mark.parametrize("replicas, workers", [(2, 1), (2, 2), (3, 1), (4, 2)])
@pytest.mark.parametrize("which", [None, 0])
def test_replicas_share_the_rows_of_one_batch(files, replicas, workers, which):
    stream = training(files, 12, keep=part_of(files, which), window=36)
    number = 2 * stream.steps_per_epoch
    whole = ids(stream, 2, number)
    local = replicas // workers
    parts = [
        ids(stream, 2, number, Share(replicas, worker * local, local))
        for worker in range(workers)
    ]
    for step in range(number):
        rows = [part[step * local + i] for part in parts for i in range(local)]
        assert {len(row) for row in rows} == {12 // replicas}
        np.testing.assert_array_equal(np.concatenate(rows), whole[step])


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_see_each_example_once_an_epoch(files, workers):
    stream = training(files, 4, window=16)
    steps = stream.steps_per_epoch
    counts = np.zeros(116, int)
    for worker in range(workers):
        seen = ids(stream, 0, 3 * steps, Share(workers, worker, 1))
        np.add.at(counts, seen.ravel(), 1)
    assert counts.tolist() == [3] * 116


def test_order_does_not_depend_on_parallel_calls(files):
    found = [
        ids(training(files, 4, window=24, parallel_calls=calls), 0, 60)
        for calls in (1, 4)
    ]
    np.testing.assert_array_equal(*found)


def test_groups_do_not_change_batches(files, monkeypatch):
    whole = ids(training(files, 4), 0, 60)
    monkeypatch.setattr(records, "GROUP_RECORDS", 12)
    np.testing.assert_array_equal(ids(training(files, 4), 0, 60), whole)


def test_shards_change_their_order_and_their_beginning(tmp_path):
    """Chi-square over which shard of 6 comes first, and with which record."""
    stream = training(shards(tmp_path, [4] * 6), 1, window=1)
    # With windows of one record the order is that of reading.
    epochs = ids(stream, 0, 24 * 600).reshape(600, 24)
    counts = np.bincount(epochs[:, 0], minlength=24)
    # 23 degrees of freedom: mean 23, deviation sqrt(2 * 23) = 7.
    assert ((counts - 25) ** 2 / 25).sum() < 23 + 6 * 7
    for epoch in epochs[:20]:
        # Each shard stands together, but for the head of the first.
        shard_changes = np.flatnonzero(np.diff(epoch // 4))
        assert len(shard_changes) in (5, 6)
        np.testing.assert_array_equal(
            epoch[4:20] % 4, (epoch[4] % 4 + np.arange(16)) % 4
        )
    followers = {(a // 4, b // 4) for a, b in epochs[:, 3:5]}
    assert len({b for a, b in followers if a != b}) == 6


def test_windows_are_shuffled_evenly(tmp_path):
    """Chi-square over where the records of a window of 20 stand in 2,000 epochs."""
    stream = training(shards(tmp_path, [20]), 20)
    counts = np.zeros((20, 20))
    for batch in ids(stream, 0, 2000):
        counts[np.arange(20), batch] += 1
    # 361 degrees of freedom: mean 361, deviation sqrt(2 * 361) = 27.
    assert ((counts - 100) ** 2 / 100).sum() < 361 + 6 * 27


def test_records_stay_within_their_window(tmp_path):
    stream = training(shards(tmp_path, [1000]), 10, window=100)
    assert stream.batches_per_window == 10
    for window in ids(stream, 0, 100).reshape(10, 100):
        # Neighbours in the file, but for the end beside the beginning; shuffled.
        assert (np.diff(np.sort(window)) != 1).sum() <= 1
        assert (np.diff(window) != 1).sum() > 80


def test_default_window_is_given_by_memory(tmp_path, monkeypatch):
    files = shards(tmp_path, [100], size=60)
    assert training(files, 7).batches_per_window == 14
    monkeypatch.setattr(records, "WINDOW_BYTES", 50 * (60 + records.STRING_BYTES))
    assert training(files, 7).batches_per_window == 7
    monkeypatch.setattr(records, "WINDOW_RECORDS", 30)
    assert training(files, 7).batches_per_window == 4
    monkeypatch.setattr(records, "WINDOW_BYTES", 1)
    assert training(files, 7).batches_per_window == 1


@pytest.fixture
def opened(monkeypatch):
    """What each dataset of records read: [number of records, paths]."""
    read, log = record_files.read, []

    class Counted:
        """A dataset whose records are counted after those that are skipped."""

        def __init__(self, paths, compression):
            self.dataset = read(paths, compression)
            self.paths = paths

        def skip(self, number):
            def note(record, paths):
                log.append((record, [path.decode() for path in paths]))
                return record

            return self.dataset.skip(number).map(
                lambda record: tf.ensure_shape(
                    tf.numpy_function(note, [record, self.paths], tf.string), []
                )
            )

    monkeypatch.setattr(records, "read", Counted)
    return log


@pytest.mark.parametrize("start", [0, 13, 24, 49, 55, 99])
def test_resume_reads_at_most_one_window_again(tmp_path, opened, start):
    files = shards(tmp_path, [50] * 10)
    stream = training(files, 5, window=25)
    next(iter(stream.dataset(start, ONE)))
    before = start % stream.steps_per_epoch * 5
    # The stream reads on in the background; what counts is where it began.
    epoch_order = [
        int.from_bytes(record[:8], "little") for record, _ in opened if record
    ]
    whole = ids(stream, start - start % 5, 5).ravel()
    assert set(epoch_order[:25]) == set(whole)
    # Shards whose records all come before are not even opened.
    assert len(opened[0][1]) <= 11 - before // 25 * 25 // 50


def test_transforms_have_a_seed_for_each_row_whatever_the_replicas(files):
    def transform(batch):
        draw = tf.map_fn(
            lambda seed: tf.random.stateless_uniform([], seed),
            batch.pop("seed"),
            fn_output_signature=tf.float32,
        )
        return batch | {"draw": draw}

    stream = training(files, 8, transform=transform, window=16)

    def draws(start, number, share):
        found = stream.dataset(start, share).take(number * share.local)
        return np.concatenate([batch["draw"] for batch in found.as_numpy_iterator()])

    whole = draws(3, 20, ONE)
    np.testing.assert_array_equal(draws(3, 20, Share(2, 0, 2)), whole)
    np.testing.assert_array_equal(draws(5, 18, ONE), whole[16:])
    assert len(np.unique(whole)) == 160


def test_a_batch_larger_than_the_set_is_refused(files):
    with pytest.raises(UserError, match=r"--batch_size=117 .* 116 examples"):
        training(files, 117)
    with pytest.raises(UserError, match=r"--batch_size=97 .* 96 examples"):
        training(files, 97, keep=part_of(files, 0))


# ---- Evaluation ----


@pytest.mark.parametrize("replicas, workers", [(1, 1), (2, 1), (3, 1), (2, 2)])
@pytest.mark.parametrize("batch_size", [1, 24, 200])
@pytest.mark.parametrize("which", [None, 1])
def test_evaluation_gives_each_record_once(files, replicas, workers, batch_size, which):
    keep = part_of(files, which)
    stream = RecordEvaluationStream(files, batch_size, parse, keep)
    local = replicas // workers
    found = [
        list(stream.dataset(Share(replicas, worker * local, local)).as_numpy_iterator())
        for worker in range(workers)
    ]
    number = stream.num_batches(replicas)
    assert [len(part) for part in found] == [number * local] * workers
    batches = [
        part[step * local + i]
        for step in range(number)
        for part in found
        for i in range(local)
    ]
    assert len({len(batch["id"]) for batch in batches}) == 1
    real = [batch["id"][batch["example_weight"] == 1] for batch in batches]
    expected = np.arange(116) if keep is None else np.flatnonzero(keep)
    np.testing.assert_array_equal(np.concatenate(real), expected)
    for batch in batches:
        assert set(batch["example_weight"]) <= {0, 1}


def test_parts_share_no_record(files):
    kept, held_out = record_files.split(files, 20, seed=5)
    assert held_out.sum() == 20 and (kept != held_out).all()
    np.testing.assert_array_equal(record_files.split(files, 20, seed=5)[1], held_out)
    assert (record_files.split(files, 20, seed=6)[1] != held_out).any()


# ---- Files ----


def test_counts(any_files):
    assert any_files.counts == (30, 7, 40, 1, 38)
    assert any_files.num_bytes == 116 * 8


def test_counts_of_records_longer_than_a_block(tmp_path, monkeypatch):
    for block in (12, 13, 20, 50, 1 << 20):
        monkeypatch.setattr(record_counts, "_BLOCK_BYTES", block)
        for compression in ("", "GZIP", "ZLIB"):
            path = write(tmp_path / "long", range(9), compression, size=40)
            assert record_counts.count_records(path, compression) == (9, 360)


def test_counts_are_kept_beside_the_files(tmp_path, monkeypatch):
    write(tmp_path / "a", range(3))
    write(tmp_path / "b", range(4))
    pattern = f"{tmp_path}/[ab]"
    assert record_files.open_files(pattern).counts == (3, 4)
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]
    monkeypatch.setattr(record_files, "CACHE_AFTER_SECONDS", -1)
    first = record_files.open_files(pattern)
    cache = tmp_path / record_files.COUNTS_FILE
    assert sorted(json.loads(cache.read_text())) == ["a", "b"]
    with monkeypatch.context() as patch:
        patch.setattr(record_files, "count_records", None)
        assert record_files.open_files(pattern) == first
    # Another file under a known name is counted again.
    write(tmp_path / "b", range(5))
    assert record_files.open_files(pattern).counts == (3, 5)
    cache.write_text("[no JSON")
    assert record_files.open_files(pattern).counts == (3, 5)
    # A folder that cannot be written goes without.
    monkeypatch.setattr(record_files, "COUNTS_FILE", "no/such/folder/counts.json")
    assert record_files.open_files(pattern).counts == (3, 5)


def test_no_shard(tmp_path):
    assert "matches no file" in message_of(record_files.open_files, f"{tmp_path}/x*")
    assert "x does not exist" in message_of(record_files.open_files, [f"{tmp_path}/x"])
    assert "is empty" in message_of(record_files.open_files, [])


def test_missing_shard(tmp_path):
    shards(tmp_path, [2, 3, 4])
    os.remove(tmp_path / "a-00001-of-00003")
    message = message_of(record_files.open_files, f"{tmp_path}/a-*")
    assert "lacks 1 of 3 shards, the first of them number 1" in message
    write(tmp_path / "a-00000-of-00001", [1])
    assert "of several sets" in message_of(record_files.open_files, f"{tmp_path}/a-*")


def test_empty_shard(tmp_path):
    path = write(tmp_path / "a", [])
    assert f"{path} is empty" in message_of(record_files.open_files, path)
    path = write(tmp_path / "b", [], "GZIP")
    assert f"{path} holds no records" in message_of(record_files.open_files, path)


def test_no_record_file(tmp_path):
    path = tmp_path / "a"
    path.write_text("a letter to somebody")
    assert "a is no TFRecord file" in message_of(record_files.open_files, str(path))


def test_mixed_compression(tmp_path):
    paths = [write(tmp_path / "a", [1]), write(tmp_path / "b", [1], "ZLIB")]
    message = message_of(record_files.open_files, paths)
    assert "a is not compressed but" in message and "b is compressed (ZLIB)" in message


@pytest.mark.parametrize("compression", ["", "GZIP", "ZLIB"])
@pytest.mark.parametrize("lost", [1, 10, 70])
def test_truncated_shard(tmp_path, compression, lost):
    path = write(tmp_path / "a", np.arange(50) ** 5, compression, size=48)
    os.truncate(path, os.path.getsize(path) - lost)
    message = message_of(record_files.open_files, path)
    assert f"{path} is " in message and "record " in message
    if not compression:
        # A record takes 64 bytes.
        record = 49 - (lost > 64)
        assert f"it ends within record {record} " in message


def flip(path, position):
    with open(path, "r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 0x10]))


@pytest.mark.parametrize("position", [0, 3, 7, 8, 11])
def test_damaged_header(tmp_path, position):
    path = write(tmp_path / "a", range(10))
    flip(path, 24 * 3 + position)
    assert f"{path}: record 3 is damaged" in message_of(record_files.open_files, path)


def drain(stream):
    """The error that reading a whole epoch, or all of an evaluation, ends in."""
    if isinstance(stream, RecordTrainingStream):
        dataset = stream.dataset(0, ONE).take(stream.steps_per_epoch + 1)
    else:
        dataset = stream.dataset(ONE)
    with pytest.raises(tf.errors.OpError) as caught:
        for _ in dataset:
            pass
    return caught.value


def test_damaged_bytes_are_found_and_named(tmp_path):
    files = shards(tmp_path, [10, 10])
    flip(files.paths[1], 24 * 4 + 12)
    # The headers are whole.
    assert record_files.open_files(files.paths) == files
    for stream in (training(files, 5), RecordEvaluationStream(files, 5, parse)):
        found = files.explain(drain(stream), parse)
        assert f"{files.paths[1]}: record 4 is damaged" in str(found)
        assert "\n" not in str(found)


@pytest.mark.parametrize("number", [8, 12])
@pytest.mark.parametrize("seed", [0, 1])
def test_wrong_counts_are_found_and_named(tmp_path, number, seed):
    files = shards(tmp_path, [10, 10])
    write(files.paths[0], range(number))
    for stream in (
        training(files, 5, seed),
        RecordEvaluationStream(files, 5, parse),
    ):
        found = files.explain(drain(stream), parse)
        assert f"{files.paths[0]} has {number} records where 10" in str(found)


def test_records_of_another_form_are_found_and_named(tmp_path):
    files = shards(tmp_path, [300, 10])

    def strict(serialized):
        number = tf.io.decode_raw(serialized, tf.int64)[:, 0]
        tf.debugging.assert_none_equal(number, tf.constant(299, tf.int64))
        return {"id": number}

    stream = RecordTrainingStream(files, 5, 0, strict)
    found = files.explain(drain(stream), strict)
    assert f"{files.paths[0]}: record 299 does not have" in str(found)
    # Nothing is wrong with the files.
    assert files.explain(tf.errors.InvalidArgumentError(None, None, ""), parse) is None
    assert files.explain(tf.errors.InternalError(None, None, ""), strict) is None
