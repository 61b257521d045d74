import json
import pickle
import re
import sys
import unicodedata

import numpy as np
import pytest
import tensorflow as tf

from official.transformer import subtokens, text
from official.utils.testing.data import real_data
from official.utils.testing.errors import message_of

pytest.importorskip("tensorflow_text")

LETTERS = [*"abcdefghijklmnopqrstuvwxyz0123456789"]
SUBTOKENS = ["<pad>", "<EOS>", "the_", "the", " ", ", ", "_", "\\", ";", "ab_", "ing_"]
SUBTOKENS += [*LETTERS, "!"]
# What the operations inside take, or might, as something of their own.
ODD = ["##", "#", "[UNK]", "\x00", "\x11", "\x01", "\t", "\u2028", "\ue000", "日本_"]
ODD += ["日", "é", "e\u0301", "-" * 200, "-", "\\u", "\\\\", "'", '"', "''"]
SENTENCES = [
    "",
    " ",
    "  ",
    "the cat, the dog!",
    " a b ",
    "a_b \\ c \\u \\12; __ \\\\_",
    "über ß 日本\u2028 \U0001f600\x00\n\t\x11",
    "one  two   3 four5six",
    "it's #1 ## [UNK] <pad> <EOS>",
    "e\u0301a \ue000\ue001\ue002\ue003\ue004",
    "-" * 1001,
]


@pytest.fixture(scope="module")
def plain():
    return subtokens.SubtokenText(SUBTOKENS)


@pytest.fixture(scope="module")
def odd():
    return subtokens.SubtokenText(SUBTOKENS + ODD)


def ids_of(vocabulary, names):
    known = vocabulary.to_facts()["subtokens"]
    return [*map(known.index, names), text.EOS]


def random_texts(number):
    generator = np.random.default_rng(0)
    letters = [*"aab  \\\\__;#-u09é日本\n\t\x00\x11\ue000\ue003\U0001f600üÅ½.'"]
    for _ in range(number):
        yield "".join(generator.choice(letters, generator.integers(1, 30)))
    for high in np.resize([0x80, 0x600, 0x3100, 0x20000, 0x110000], number):
        codes = generator.integers(0, high, generator.integers(1, 30))
        yield "".join(chr(c) for c in codes if not 0xD800 <= c < 0xE000)


def decoded_plainly(names):
    """What 2019's rules give, step by step, of names of subtokens."""

    def character(match):
        if not match[1]:
            return "_" if match[0] == "\\u" else "\\"
        code = int(match[1])
        is_one = code < 0x110000 and not 0xD800 <= code < 0xE000
        return chr(code) if is_one else "\u3013"

    tokens = [token for token in "".join(names).split("_") if token]
    tokens = [re.sub(r"\\u|\\\\|\\([0-9]+);", character, token) for token in tokens]
    found, was_word = "", False
    for token in tokens:
        is_word = unicodedata.category(token[0])[0] in "LN"
        found += " " * (is_word and was_word) + token
        was_word = is_word
    return found


def in_graph(function, dtype, rank):
    signature = [tf.TensorSpec([None] * rank, dtype)]
    return tf.function(function, input_signature=signature, autograph=False)


def assert_same(encode, vocabulary, texts):
    found = encode(tf.constant(texts))
    assert found.dtype == tf.int32
    expected = vocabulary.encode_many(texts)
    for sentence, ids, other in zip(texts, found.to_list(), expected, strict=True):
        assert ids == other.tolist(), repr(sentence)


# ---- By hand ----


@pytest.mark.parametrize(
    ("sentence", "names"),
    [
        ("", []),
        # The blank between two words is left out; the longest subtoken comes first.
        ("the then", ["the_", "the", "n", "_"]),
        ("ab abing", ["ab_", "a", "b", "ing_"]),
        # Not one at either end, and not two.
        (" a", [" ", "_", "a", "_"]),
        ("a ", ["a", "_", " ", "_"]),
        ("a  b", ["a", "_", " ", " ", "_", "b", "_"]),
        (" ", [" ", "_"]),
        # Beside a mark it belongs to the mark, which is escaped.
        ("a, b", ["a", "_", *r"\44;", " ", "_", "b", "_"]),
        ("a_b", ["a", "_", "\\", "u", "_", "b", "_"]),
        ("\\", ["\\", "\\", "_"]),
        ("\n!", [*r"\10;", "!", "_"]),
        ("a\U0010ffff", ["a", "_", *r"\1114111;", "_"]),
        ("A2", [*r"\65;", "2", "_"]),
    ],
)
def test_by_hand(plain, sentence, names):
    (ids,) = plain.encode_many([sentence])
    assert ids.dtype == np.int32 and ids.tolist() == ids_of(plain, names)
    assert plain.encode(tf.constant([sentence])).to_list() == [ids.tolist()]
    assert plain.decode(tf.constant(ids)[None]).numpy()[0].decode() == sentence


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        # Numbers of no character, a number without an end, an escape over a "_".
        (r"\1114112;", "\u3013"),
        (r"\55296;", "\u3013"),
        (r"\99999999999999999999;", "\u3013"),
        (r"a\00065;b", "aAb"),
        (r"\12a_\_u\\\65;_", "\\12a\\u\\A"),
        (r"\\65;_\\u", r"\65;\u"),
        (r"\95;_a\95;\48;_0_", "_a_0 0"),
        ("_a__b_ _c_", "a b c"),
    ],
)
def test_decodes_what_no_text_gives(plain, names, sentence):
    ids = tf.constant([ids_of(plain, names)])
    assert plain.decode(ids).numpy()[0].decode() == sentence == decoded_plainly(names)


# ---- In the graph ----


def test_graph_gives_the_same_ids_and_back(plain, odd):
    texts = SENTENCES + list(random_texts(800))
    with open(real_data("multi30k", "test2016.de"), encoding="utf-8") as file:
        texts += file.read().splitlines()
    for vocabulary in (plain, odd):
        encode = in_graph(vocabulary.encode, tf.string, 1)
        decode = in_graph(vocabulary.decode, tf.int32, 2)
        assert_same(encode, vocabulary, texts)
        ids = encode(tf.constant(texts)).to_tensor(text.PAD)
        assert [found.decode() for found in decode(ids).numpy()] == texts
        assert encode(tf.constant([], tf.string)).to_list() == []
        nothing = decode(tf.constant([[0, 0], [text.EOS, 9]])).numpy()
        assert nothing.tolist() == [b"", b""]


def test_graph_decodes_anything_as_in_2019(odd):
    generator = np.random.default_rng(0)
    names = odd.to_facts()["subtokens"]
    # Half of them begin or end escapes and parts.
    chosen = [i for i, name in enumerate(names) if set(name) & set("\\_u;019é")]
    rows = np.where(
        generator.random([2000, 20]) < 0.5,
        generator.choice(chosen, [2000, 20]),
        generator.integers(2, odd.vocab_size, [2000, 20]),
    )
    found = odd.decode(tf.constant(rows, tf.int32)).numpy()
    for row, sentence in zip(rows, found, strict=True):
        assert sentence.decode() == decoded_plainly([names[i] for i in row])


def test_characters_of_all_planes(plain):
    """One long text, and one that is a word of many numbers."""
    codes = np.r_[0:0xD800:5, 0xE000:0x110000:51, 0x10FFFF]
    texts = ["a".join(map(chr, codes)), "あ" * 10_000]
    texts += ["a"] * 10_000
    assert_same(plain.encode, plain, texts)
    ids = plain.encode(tf.constant(texts[:2])).to_tensor(text.PAD)
    found = plain.decode(ids).numpy()
    assert [sentence.decode() for sentence in found] == texts[:2]


def test_is_served(odd, tmp_path):
    module = tf.Module()
    module.resources = odd.resources
    module.encode = in_graph(odd.encode, tf.string, 1)
    module.decode = in_graph(odd.decode, tf.int32, 2)
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    assert_same(loaded.encode, odd, SENTENCES)
    ids = loaded.encode(tf.constant(SENTENCES)).to_tensor(text.PAD)
    assert [found.decode() for found in loaded.decode(ids).numpy()] == SENTENCES


# ---- Files and copies ----


def write(path, subtokens, quote="'", end="\n"):
    path.write_bytes("".join(f"{quote}{s}{quote}{end}" for s in subtokens).encode())
    return str(path)


def test_files(tmp_path):
    for quote, end in (("'", "\n"), ('"', "\r\n")):
        path = write(tmp_path / "vocab.ende", SUBTOKENS + ODD, quote, end)
        found = text.read(path)
        assert isinstance(found, subtokens.SubtokenText)
        assert found.to_facts() == {"subtokens": SUBTOKENS + ODD}
        assert found.vocab_size == len(SUBTOKENS + ODD)


def test_facts_and_copies_for_other_processes(odd):
    facts = json.loads(json.dumps(odd.to_facts()))
    odd.encode(tf.constant(["a"]))
    for copy in (text.from_facts(facts), pickle.loads(pickle.dumps(odd))):
        assert copy.to_facts() == odd.to_facts()
        for ids, other in zip(
            copy.encode_many(SENTENCES), odd.encode_many(SENTENCES), strict=True
        ):
            np.testing.assert_array_equal(ids, other)


def test_wrong_files(tmp_path):
    path = tmp_path / "vocab"

    def message(lines):
        path.write_text("\n".join(lines))
        found = message_of(text.read, str(path))
        assert found.startswith(str(path)) and "name a subtoken file" in found
        return found

    quoted = [f"'{subtoken}'" for subtoken in SUBTOKENS]
    assert "line 4 has no subtoken in quotes" in message([*quoted[:3], "the"])
    assert "line 4 has no subtoken in quotes" in message([*quoted[:3], "", "'a'"])
    assert "line 3 has no subtoken in quotes" in message([*quoted[:2], "''"])
    assert "does not begin with <pad> and <EOS>" in message(quoted[1:])
    assert "does not begin with <pad> and <EOS>" in message(["'a'"])
    assert "line 12 repeats 'the' of line 4" in message([*quoted[:11], "'the'"])
    assert "lacks 7 \\" in message([q for q in quoted if q not in ("'7'", "'\\'")])
    assert "line 48 has 257 characters where at most 256" in message(
        [*quoted[:47], "'" + "a" * 257 + "'", *quoted[47:]]
    )
    path.write_bytes(b"'<pad>'\n'\xff'")
    assert f"{path} is no UTF-8" in message_of(text.read, str(path))


def test_missing_package(monkeypatch, plain):
    module = "official.transformer.subtoken_graph"
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.delattr(module, raising=False)
    monkeypatch.setitem(sys.modules, "tensorflow_text", None)
    again = pickle.loads(pickle.dumps(plain))
    assert message_of(again.encode, ["a"]) == (
        "translation needs tensorflow-text: pip install 'official-models[text]'"
    )
    assert again.encode_many(["a"])[0].tolist() == plain.encode_many(["a"])[0].tolist()
