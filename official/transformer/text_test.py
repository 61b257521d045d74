import pickle

import numpy as np
import pytest
import tensorflow as tf

from official.transformer import subtokens, text
from official.utils.testing.data import real_data
from official.utils.testing.errors import message_of

pytest.importorskip("sentencepiece")
pytest.importorskip("tensorflow_text")

SENTENCES = [
    "A man in an orange hat starring at something.",
    "Ein Mann mit einem orangefarbenen Hut, der etwas anstarrt.",
    "Ωραία μέρα, naïve café!",
    "私は 東京に 住んでいます。",
    "",
    "  two   blanks ",
    "tabs\tand \u200b zero width",
    "ﬁ ½ \U0001f600 \x01",
]


@pytest.fixture(scope="module")
def vocabulary():
    with open(real_data("multi30k", "val.en"), encoding="utf-8") as file:
        lines = file.read().splitlines()
    return text.learn(lines + SENTENCES, 600)


def random_texts(number):
    generator = np.random.default_rng(0)
    for _ in range(number):
        codes = generator.integers(1, 0x30000, generator.integers(1, 20))
        yield "".join(chr(c) for c in codes if not 0xD800 <= c < 0xE000)


def test_graph_and_package_give_the_same_ids(vocabulary):
    texts = SENTENCES + list(random_texts(300))
    found = vocabulary.encode(tf.constant(texts)).to_list()
    for sentence, ids, expected in zip(
        texts, found, vocabulary.encode_many(texts), strict=True
    ):
        assert ids == expected.tolist(), repr(sentence)
        assert ids[-1] == text.EOS and text.PAD not in ids


def test_decodes_up_to_the_first_end(vocabulary):
    ids = vocabulary.encode(tf.constant(SENTENCES[:2]))
    padded = ids.to_tensor(0, [None, 99])
    behind = tf.tile([[7, 8, 1, 9]], [2, 1])
    padded = tf.concat([padded, behind], axis=1)
    found = [sentence.decode() for sentence in vocabulary.decode(padded).numpy()]
    assert found == SENTENCES[:2]


def test_learning_is_repeated_exactly(vocabulary):
    with open(real_data("multi30k", "val.en"), encoding="utf-8") as file:
        lines = file.read().splitlines()
    again = text.learn(lines + SENTENCES, 600)
    assert again.to_facts() == vocabulary.to_facts()
    assert again.vocab_size == 600
    assert text.from_facts(again.to_facts()).vocab_size == 600
    copy = pickle.loads(pickle.dumps(again))
    assert copy.encode_many(["A man"])[0].tolist() == [
        *vocabulary.encode_many(["A man"])[0]
    ]
    pairs = text.learn(lines, 300, "bpe")
    found = [each.encode_many(["A man"])[0].tolist() for each in (pairs, again)]
    assert found[0] != found[1]


def test_small_texts_give_fewer_pieces():
    assert text.learn(["a b a b ab"] * 5, 1000).vocab_size < 20
    assert "no vocabulary of 5000 pieces can be learnt" in message_of(
        text.learn, [], 5000
    )
    assert message_of(text.learn, ["a"], 9, "word") == (
        "--vocab_kind=word: should be among unigram, bpe"
    )


def test_is_served(vocabulary, tmp_path):
    module = tf.Module()
    module.resources = vocabulary.resources
    module.call = tf.function(
        lambda x: vocabulary.decode(vocabulary.encode(x).to_tensor(0)),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )
    tf.saved_model.save(module, str(tmp_path))
    found = tf.saved_model.load(str(tmp_path)).call(tf.constant(SENTENCES[:2]))
    assert [sentence.decode() for sentence in found.numpy()] == SENTENCES[:2]


def test_files(vocabulary, tmp_path):
    path = tmp_path / "pieces.model"
    path.write_bytes(vocabulary._model)
    assert text.read(str(path)).to_facts() == vocabulary.to_facts()
    path.write_bytes(b"nothing of the kind")
    message = message_of(text.read, str(path))
    assert message.startswith(f"--vocab_file={path}: ")
    assert "name a SentencePiece model or a subtoken file of 2019" in message


# ---- The subtokens of 2019 ----

LINES = ["<pad>", "<EOS>", "the_", "the", " ", ", ", "_", "\\", ";", "u"]
LINES += [*"abcdefghijklmnopqrstvwxyz0123456789!"]
LINES = [f"'{line}'" for line in LINES]


def test_subtokens(tmp_path):
    path = tmp_path / "vocab.ende"
    path.write_text("\n".join(LINES) + "\n")
    found = text.read(str(path))
    assert isinstance(found, subtokens.SubtokenText) and found.vocab_size == len(LINES)
    # "the_" | "the" "n" "_": the blank between words is left out.
    (ids,) = found.encode_many(["the then"])
    assert ids.tolist() == [2, 3, 10 + "abcdefghijklmnopqrst".index("n"), 6, 1]
    for sentence in ("the cat, the dog!", "a_b \\ c", "über ß", "one  two", " a"):
        (ids,) = found.encode_many([sentence])
        assert found.decode_many(ids[None]) == [sentence]
    again = text.from_facts(found.to_facts())
    assert (
        again.encode_many(["a_b"])[0].tolist() == found.encode_many(["a_b"])[0].tolist()
    )


def test_wrong_subtokens(tmp_path):
    path = tmp_path / "vocab"
    path.write_text("\n".join([*LINES[:3], "the"]))
    assert f"{path}: line 4 has no quotes" in message_of(text.read, str(path))
    path.write_text("\n".join(LINES[1:]))
    assert "does not begin with <pad> and <EOS>" in message_of(text.read, str(path))
