r"""Makes TFRecords for pre-training BERT out of plain text.

    python -m official.bert.create_pretraining_data --vocab_file=vocab.txt \
        --input_file='text/*.txt.gz' --output_file=a.tfrecord,b.tfrecord

Text has a sentence a line, and an empty line between documents; see `documents`. The
features are listed in `record_making`.

Text is read in windows of some megabytes, so that memory does not grow with it. The
second segment of a pair that does not belong to the first one comes from another
document of the same window, and records are shuffled within windows, where the original
holds everything in memory. Instead of `--dupe_factor` copies beside each other, the
text is read so many times from beginning to end, and made into other sequences each
time. What is written depends on text and flags alone, and not on `--num_processes`.
"""

import contextlib
import functools
import os
import time

from absl import flags

from official.utils import app
from official.utils.errors import UserError
from official.utils.flags.definer import Definer
from official.utils.logs import console

# Between lines that say how far it is.
_SECONDS = 60


def define_flags() -> flags.FlagValues:
    """Flags of the command."""
    flag_values = flags.FlagValues()
    define = Definer(flag_values, "create_pretraining_data")
    define.string(
        "input_file",
        None,
        "Text files or patterns, between commas; they may be gzipped.",
    )
    define.string("output_file", None, "TFRecord files to write, between commas.")
    define.string("vocab_file", None, "vocab.txt, a word piece a line.")
    define.boolean("lower_case", True, "Read text in lower case and without accents.")
    define.integer("max_seq_length", 128, "Word pieces of a sequence.", low=8)
    define.integer(
        "max_predictions_per_seq", 20, "Most pieces of a sequence that are masked.",
        low=1,
    )  # fmt: skip
    define.number(
        "masked_lm_prob", 0.15, "Part of the pieces that is masked.", low=0, high=1
    )
    define.boolean(
        "do_whole_word_mask", False, "Mask all pieces of a word, or none of them."
    )
    define.boolean(
        "use_next_sentence",
        True,
        "Make pairs of segments. With --nouse_next_sentence a line is a document, and "
        "a sequence is one, or a part of it if it is too long.",
    )
    define.number(
        "short_seq_prob",
        0.1,
        "Part of the pairs that are made shorter than they could be.",
        low=0,
        high=1,
    )
    define.integer(
        "dupe_factor", 10, "How many times the text is made into sequences.", low=1
    )
    define.integer("random_seed", 12345, "Draws everything.", low=0)
    define.boolean("gzip_compress", False, "Compress the files.")
    define.integer(
        "num_processes",
        1,
        "Processes that make sequences. Each takes about 1 GB of memory.",
        low=1,
    )
    return flag_values


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Makes sequences, writes them, and prints how many there are.

    Args:
        flags_obj: parsed flags.

    Returns:
        `sequences`, and `documents`, of one reading.

    Raises:
        UserError: a flag is missing, a file cannot be read or is wrong, or an output
            exists or cannot be written.
    """
    patterns, outputs = map(_listed, (flags_obj.input_file, flags_obj.output_file))
    vocab_file = os.path.expanduser(flags_obj.vocab_file or "")
    if not (patterns and outputs and vocab_file):
        raise UserError("--input_file, --output_file and --vocab_file are needed")
    if len(set(outputs)) < len(outputs):
        raise UserError("--output_file names a file twice; name each once")
    if flags_obj["short_seq_prob"].present and not flags_obj.use_next_sentence:
        console.warn("--short_seq_prob has no effect without pairs")

    from official.bert import record_making, vocabulary
    from official.utils.data import processes, text_lines

    # Before other processes are started.
    vocabulary.read(vocab_file)
    paths = text_lines.find(patterns, "--input_file")
    settings = record_making.Settings(
        vocab_file=vocab_file,
        lower_case=flags_obj.lower_case,
        max_length=flags_obj.max_seq_length,
        max_predictions=flags_obj.max_predictions_per_seq,
        masked_probability=flags_obj.masked_lm_prob,
        short_probability=flags_obj.short_seq_prob,
        whole_words=flags_obj.do_whole_word_mask,
        use_next_sentence=flags_obj.use_next_sentence,
        seed=flags_obj.random_seed,
    )
    passes = flags_obj.dupe_factor
    num_documents = 0

    def windows():
        nonlocal num_documents
        for window in record_making.read_windows(paths, settings, passes):
            if not window.pass_number:
                num_documents += len(window.documents)
            yield window

    records = processes.in_order(
        functools.partial(record_making.make_records, settings),
        windows(),
        flags_obj.num_processes,
    )
    compression = "GZIP" if flags_obj.gzip_compress else ""
    # Closed at an error too, so that no process outlives it.
    with contextlib.closing(records):
        number = record_making.write(_told(records), outputs, compression)
    if num_documents == 1 and settings.use_next_sentence:
        console.warn(
            "there is one document only, so that second segments that should not "
            "follow the first ones come from it too; put empty lines between documents"
        )
    print(
        f"{number:,} sequences of {num_documents:,} documents, read {passes} times, in "
        f"{', '.join(outputs)}"
    )
    return {"sequences": number, "documents": num_documents}


def _listed(names: str | None) -> list[str]:
    parts = [name.strip() for name in (names or "").split(",")]
    return [os.path.expanduser(name) for name in parts if name]


def _told(windows):
    """Says now and then how far it is."""
    number, told = 0, time.monotonic()
    for records in windows:
        yield records
        number += len(records)
        if time.monotonic() - told > _SECONDS:
            told = time.monotonic()
            print(f"{number:,} sequences so far", flush=True)


if __name__ == "__main__":
    app.main(define_flags, run, (), __doc__.splitlines()[0])
