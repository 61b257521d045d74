import gzip
import random

import tensorflow as tf

from official.bert import learn_vocab, text, vocabulary
from official.bert.vocabulary import SPECIAL
from official.utils.testing import mains
from official.utils.testing.errors import message_of


def test_joins_the_most_frequent_pairs_first():
    texts = ["low low low low low", "lower lower", "newest " * 6, "Widest, " * 3]
    found = learn_vocab.learn(texts, 35)
    # e occurs 2 + 2 * 6 + 3 times, w 5 + 2 + 6 + 3, s and t 6 + 3, l and o 5 + 2, n 6,
    # the others 3 or 2. A comma never continues a word.
    characters = []
    for character in "ewstlon,dir":
        characters += [character, f"##{character}"]
    characters.remove("##,")
    assert found[:26] == [*SPECIAL, *characters]
    # "es" and then "est" stand in 9 words; "ow" before "lo", and then "low", in 7; the
    # pairs of "newest" in 6, those of "widest" in 3. Of pairs that are equal the first
    # in the order of characters is taken.
    joined = ["##es", "##est", "##ow", "low", "##ew", "##ewest", "newest", "##dest"]
    assert found[26:] == [*joined, "##idest"]
    assert learn_vocab.learn(texts, 34) == found[:34]


def test_order_of_texts_does_not_matter():
    texts = [f"word{i % 7}ing and {'x' * (i % 5)}ed {i % 13}" for i in range(200)]
    shuffled = list(texts)
    random.Random(0).shuffle(shuffled)
    assert learn_vocab.learn(texts, 80) == learn_vocab.learn(shuffled, 80)


def test_has_no_more_pieces_than_asked_for_and_none_twice():
    texts = ["the theatre there then they them these those"] * 3
    sizes = {}
    for size in (5, 6, 7, 20, 35, 1000):
        found = learn_vocab.learn(texts, size)
        assert len(set(found)) == len(found)
        sizes[size] = len(found)
    # A letter takes two places. In the end the 8 words are pieces, too.
    assert sizes == {5: 5, 6: 5, 7: 7, 20: 20, 35: 35, 1000: 39}
    assert set(texts[0].split()) <= set(found)


def test_what_is_learnt_covers_the_text():
    texts = ["Größe, café & naïve", "Words that are here, and others THERE."] * 4
    tokenizer = text.Tokenizer(learn_vocab.learn(texts, 120))
    ids = tokenizer.tokenize(tf.constant(texts))
    assert tokenizer.unknown_id not in ids.values.numpy()
    cased = learn_vocab.learn(texts, 200, lower_case=False)
    assert {"G", "##T", "é"} <= set(cased)
    assert not {"G", "##T", "é"} & set(learn_vocab.learn(texts, 200))


def test_rare_characters_and_long_words_are_left_out():
    # 2,000,001 characters: one that occurs once is below one in a million.
    texts = ["ab" * 50] * 20_000 + ["ж", "c" * 101, "d" * 101]
    found = learn_vocab.learn(texts, 1000)
    assert found[5:9] == ["a", "##a", "b", "##b"]
    assert not any(letter in piece for piece in found for letter in "жcd")
    assert "ab" * 50 in found


def test_pieces_are_not_too_long_for_the_tokenizer():
    texts = ["กขค" * 33] * 2
    found = learn_vocab.learn(texts, 1000)
    sizes = [len(piece.encode()) for piece in found]
    assert 100 < max(sizes) <= vocabulary.MAX_PIECE_BYTES
    ids = text.Tokenizer(found).tokenize(tf.constant(texts)).to_list()
    assert len(ids[0]) == 2


def test_nothing_to_learn_from():
    assert "holds no word" in message_of(learn_vocab.learn, ["", "  "], 100)


def run(*arguments):
    return mains.run_main(learn_vocab.define_flags, learn_vocab.run, (), arguments)


def test_command_writes_a_vocabulary(tmp_path):
    (tmp_path / "a.txt").write_text("one two three two\n\nTwo\n")
    (tmp_path / "b.gz").write_bytes(gzip.compress("Straße".encode()))
    target = str(tmp_path / "vocab.txt")
    arguments = (
        f"--input_files={tmp_path}/a.*, {tmp_path}/b.gz",
        f"--vocab_file={target}",
        "--vocab_size=50",
    )
    outcome = run(*arguments)
    assert outcome.exit_code == 0, outcome.stderr
    pieces = vocabulary.read(target)
    assert outcome.stdout == f"{target}: {len(pieces)} pieces\n"
    assert {"two", "##ß"} <= set(pieces) and "T" not in pieces
    # The same again is no harm, another one is.
    assert run(*arguments).exit_code == 0
    outcome = run(*arguments, "--nolower_case")
    mains.assert_one_line_error(outcome, target, "not overwritten")


def test_what_is_wrong(tmp_path):
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "bytes.txt").write_bytes(b"one\ntw\xff\n")
    out = f"--vocab_file={tmp_path}/vocab.txt"
    for arguments, fragments in (
        ((out,), ("--input_files and --vocab_file are needed",)),
        (("--input_files=/no/*",), ("--input_files and --vocab_file are needed",)),
        (("--input_files=/no/*", out), ("--input_files=/no/*", "matches no file")),
        ((f"--input_files={tmp_path}/empty.txt", out), ("there is no text in",)),
        ((f"--input_files={tmp_path}/bytes.txt", out), ("bytes.txt", "line 2")),
        ((f"--input_files={tmp_path}/*.txt", out, "--vocab_size=5"), ("vocab_size",)),
    ):
        mains.assert_one_line_error(run(*arguments), *fragments)
    assert not (tmp_path / "vocab.txt").exists()
