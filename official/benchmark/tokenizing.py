"""Times BERT's word pieces in TensorFlow against Hugging Face's fast tokenizers.

    python -m official.benchmark.tokenizing --vocab_file=vocab.txt --input=lines.txt

Both turn the lines of a file, taken in turn, into ids with [CLS] and [SEP], in batches
of each of `--batch_sizes`, with all cores: ours as a batch of a training or of a served
SavedModel is made, `tokenizers.BertWordPieceTokenizer` by `encode_batch`. Before the
race the ids of all lines are compared. They take turns; the table gives medians.
"""

import os
import statistics
import time
from collections.abc import Callable

from absl import flags

from official.benchmark import micro_flags
from official.utils import app
from official.utils.errors import UserError
from official.utils.logs import console

_MAX_LENGTH = 512


def define_flags() -> flags.FlagValues:
    """Flags of the benchmark."""
    flag_values = micro_flags.define_shared_flags("tokenizing", seconds=1.0)
    own = dict(flag_values=flag_values, module_name="tokenizing")
    flags.DEFINE_string("vocab_file", None, "vocab.txt of an uncased network.", **own)
    flags.DEFINE_string("input", None, "Text in UTF-8, a line each.", **own)
    flags.DEFINE_list("batch_sizes", ["1", "32", "1000"], "Lines at a time.", **own)
    return flag_values


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Prints the table.

    Args:
        flags_obj: parsed flags.

    Returns:
        For each batch size `lines_per_second_official_<size>`,
        `lines_per_second_tokenizers_<size>` and `ratio_<size>`, how many times faster
        ours is, the median over the rounds.

    Raises:
        UserError: `tokenizers` or a file is missing, or ids differ.
    """
    for name in ("vocab_file", "input"):
        if not flags_obj[name].value:
            raise UserError(f"--{name}=FILE is missing")
    sizes = [batch_size(text) for text in flags_obj.batch_sizes]
    lines = read_lines(flags_obj.input)
    from official.benchmark import micro

    ours, theirs = _tokenizers(flags_obj.vocab_file)
    for number, (a, b) in enumerate(zip(ours(lines), theirs(lines), strict=True)):
        if a != b:
            raise UserError(
                f"{flags_obj.input}: line {number + 1} has other ids here ({a}) than "
                f"with tokenizers ({b}); leave it out"
            )
    length = statistics.mean(map(len, lines))
    print(
        f"{len(lines):,} lines of {length:.0f} characters, {os.cpu_count()} CPUs; the "
        "ids of all are equal",
        flush=True,
    )
    metrics, rows = {}, [("batch", "official/s", "tokenizers/s", "ratio", "rounds")]
    for size in sizes:
        contenders = {
            "official": micro.Contender(_timed(ours, lines, size)),
            "tokenizers": micro.Contender(_timed(theirs, lines, size)),
        }
        rates = micro.take_turns(contenders, flags_obj.rounds, flags_obj.seconds)
        ratios = micro.ratios(rates, "official", "tokenizers")
        found = {name: statistics.median(rates[name]) * size for name in rates}
        for name, value in found.items():
            metrics[f"lines_per_second_{name}_{size}"] = value
        metrics[f"ratio_{size}"] = statistics.median(ratios)
        rows.append(
            (
                f"{size:,}",
                f"{found['official']:,.0f}",
                f"{found['tokenizers']:,.0f}",
                f"{metrics[f'ratio_{size}']:.2f}",
                f"{min(ratios):.2f} to {max(ratios):.2f}",
            )
        )
    print("\n".join(console.table(rows)), flush=True)
    return metrics


def batch_size(text: str) -> int:
    """A number of `--batch_sizes`.

    Raises:
        UserError: it is none.
    """
    if not text.isdigit() or int(text) < 1:
        raise UserError(f"--batch_sizes={text}: should be whole numbers from 1 on")
    return int(text)


def read_lines(path: str) -> list[str]:
    """The lines of a file, without the empty ones.

    Raises:
        UserError: there is none, or the file cannot be read.
    """
    try:
        with open(path, encoding="utf-8", newline="\n") as file:
            lines = [line.strip() for line in file]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--input={path} cannot be read: {error}") from None
    lines = [line for line in lines if line]
    if not lines:
        raise UserError(f"--input={path} has no line of text")
    return lines


def _tokenizers(vocab_file: str):
    """Ours and theirs: lists of lines to lists of ids."""
    try:
        import tokenizers
    except ImportError:
        raise UserError(
            "tokenizing compares with tokenizers, which is missing: pip install "
            "tokenizers"
        ) from None
    import tensorflow as tf

    from official.bert import sequences, vocabulary
    from official.bert.text import Tokenizer

    tokenizer = Tokenizer(vocabulary.read(vocab_file), lower_case=True)
    pack = tf.function(
        lambda texts: sequences.pack(tokenizer, [texts], _MAX_LENGTH)[0],
        input_signature=[tf.TensorSpec([None], tf.string)],
        autograph=False,
    )
    other = tokenizers.BertWordPieceTokenizer(vocab_file, lowercase=True)
    other.enable_truncation(_MAX_LENGTH)
    return (
        lambda lines: pack(tf.constant(lines)).to_list(),
        lambda lines: [found.ids for found in other.encode_batch(lines)],
    )


def _timed(
    tokenize: Callable[[list[str]], list[list[int]]], lines: list[str], size: int
) -> Callable[[int], float]:
    """Tokenises so many batches, one after the other."""
    place = 0

    def train(count):
        nonlocal place
        batches = []
        for _ in range(count):
            batches.append([lines[(place + i) % len(lines)] for i in range(size)])
            place = (place + size) % len(lines)
        begun = time.perf_counter()
        for batch in batches:
            tokenize(batch)
        return time.perf_counter() - begun

    return train


if __name__ == "__main__":
    app.main(define_flags, run, (), __doc__.splitlines()[0])
