import random

import pytest
import tensorflow as tf

from official.bert import learn_vocab, text, vocabulary
from official.bert.vocabulary import SPECIAL
from official.utils.testing.errors import message_of


def test_joins_the_most_frequent_pairs_first():
    texts = ["low low low low low", "lower lower", "newest " * 6, "widest " * 3]
    found = learn_vocab.learn(texts, 40)
    letters = sorted(set("lowernewestwidest"))
    assert found[:5] == list(SPECIAL)
    assert found[5:15] == letters
    assert found[15:25] == [f"##{letter}" for letter in letters]
    # "es" stands in 9 words, then "est" in 9; "lo" in 7, "low" in 7.
    assert found[25:29] == ["##es", "##est", "##ow", "low"]


def test_order_of_texts_does_not_matter():
    texts = [f"word{i % 7}ing and {'x' * (i % 5)}ed {i % 13}" for i in range(200)]
    shuffled = list(texts)
    random.Random(0).shuffle(shuffled)
    assert learn_vocab.learn(texts, 60) == learn_vocab.learn(shuffled, 60)


def test_has_no_more_pieces_than_asked_for_and_none_twice():
    texts = ["the theatre there then they them these those"] * 3
    for size in (7, 20, 35, 1000):
        found = learn_vocab.learn(texts, size)
        assert len(found) <= size
        assert len(set(found)) == len(found)


def test_what_is_learnt_covers_the_text():
    texts = ["Größe, café & naïve", "Words that are here, and others THERE."] * 4
    tokenizer = text.Tokenizer(learn_vocab.learn(texts, 120))
    ids = tokenizer.tokenize(tf.constant(texts))
    assert tokenizer.unknown_id not in ids.values.numpy()
    cased = learn_vocab.learn(texts, 200, lower_case=False)
    assert {"G", "##T"} <= set(cased)
    assert not {"G", "##T"} & set(learn_vocab.learn(texts, 200))


def test_nothing_to_learn_from():
    assert "holds no word" in message_of(learn_vocab.learn, ["", "  "], 100)


def run(*arguments):
    flags = learn_vocab.define_flags()
    flags(["main", *arguments])
    return learn_vocab.run(flags)


def test_command_writes_a_vocabulary(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("one two three two\ntwo\n")
    output = str(tmp_path / "vocab.txt")
    number = run(f"--input_files={tmp_path}/*.txt", f"--vocab_file={output}")
    pieces = vocabulary.read(output)
    assert len(pieces) == number
    assert "two" in pieces
    assert capsys.readouterr().out == f"{number} pieces: {output}\n"


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], "--input_files is missing"),
        (["--input_files=/nowhere/*"], "--vocab_file is missing"),
        (["--input_files=/nowhere/*", "--vocab_file=x"], "matches no file"),
    ],
)
def test_flags_that_are_wrong(arguments, words):
    assert words in message_of(run, *arguments)
