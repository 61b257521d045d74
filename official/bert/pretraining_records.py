"""TFRecords with the features of 2019, as `create_pretraining_data` writes them."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from official.bert import pretraining_data
from official.utils.data import record_files
from official.utils.data.record_files import Parse, RecordFiles
from official.utils.errors import UserError
from official.utils.flags.settings import Settings


@dataclasses.dataclass(frozen=True, eq=False)
class Records:
    """Records of a run.

    Attributes:
        files: where they are.
        parse: maps string [rows] to a batch, cut to its longest row.
        keep: which are for `train`, `validation` and `test`, bool [records] each.
    """

    files: RecordFiles
    parse: Parse
    keep: Mapping[str, np.ndarray]


def open_files(patterns: Sequence[str], settings: Settings) -> Records:
    """Finds the files and divides their records.

    Args:
        patterns: files or patterns.
        settings: flags, of which the lengths are those of the records.

    Raises:
        UserError: there is no file, one is damaged, or there are too few records.
    """
    paths = [path for each in patterns for path in record_files.find(each)]
    files = record_files.open_files(paths)
    parts = pretraining_data.divide(files.num_records, settings.seed)
    if not parts["test"].size:
        raise UserError(
            f"--input_files hold {files.num_records} records, too few to hold some out "
            "for validation; give more"
        )
    masks = {split: np.zeros(files.num_records, bool) for split in parts}
    for split, rows in parts.items():
        masks[split][rows] = True
    length, picks = settings.max_seq_length, settings.max_predictions_per_seq
    return Records(files, _parser(length, picks), masks)


def _parser(length: int, picks: int) -> Parse:
    def numbers(size, dtype=tf.int64):
        return tf.io.FixedLenFeature([size], dtype)

    features = {
        **{
            name: numbers(length) for name in ("input_ids", "input_mask", "segment_ids")
        },
        "masked_lm_positions": numbers(picks),
        "masked_lm_ids": numbers(picks),
        "masked_lm_weights": numbers(picks, tf.float32),
        "next_sentence_labels": numbers(1),
    }

    def parse(serialized: Any) -> dict[str, Any]:
        found = tf.io.parse_example(serialized, features)
        whole = {
            name: tf.cast(value, tf.int32) if value.dtype == tf.int64 else value
            for name, value in found.items()
        }
        mask = whole["input_mask"]
        longest = tf.reduce_max(tf.reduce_sum(mask, axis=1))
        return {
            "input_word_ids": whole["input_ids"][:, :longest],
            "input_mask": mask[:, :longest],
            "input_type_ids": whole["segment_ids"][:, :longest],
            "masked_lm_positions": whole["masked_lm_positions"],
            "masked_lm_ids": whole["masked_lm_ids"],
            "masked_lm_weights": whole["masked_lm_weights"],
            "next_sentence_labels": whole["next_sentence_labels"][:, 0],
        }

    return parse
