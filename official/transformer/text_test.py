# ruff: noqa: RUF001 - letters of other scripts that look like Latin ones.
import base64
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from official.transformer import text
from official.utils.testing.data import PROJECT_ROOT, real_data
from official.utils.testing.errors import message_of

pytest.importorskip("sentencepiece")
pytest.importorskip("tensorflow_text")

SENTENCES = [
    "A man in an orange hat starring at something.",
    "Ein Mann mit einem orangefarbenen Hut, der etwas anstarrt.",
    "Ωραία μέρα, naïve café! Ο ΟΔΥΣΣΕΥΣ",
    "Съешь же ещё этих мягких французских булок.",
    "قَلَم جديد على الطَّاوِلَة؟ שָׁלוֹם עולם",
    "हिन्दी में नमस्ते दुनिया। ภาษาไทยไม่มีช่องว่าง",
    "私は 東京に 住んでいます。ﾊﾝｶｸ 한국어 각",
    "",
    " ",
    "  two   blanks ",
    "tabs\tand\nlines \u200b zero\u2028width\ufeff \u00ad",
    "ﬁ ½ \U0001f600 👩🏽‍🚀 \x01\x7f\x00 \ufffd\uffff",
    "<pad> <s> </s> <unk> ▁ ▁▁a ⁇",
    "x" * 20_000,
]


def english():
    with open(real_data("multi30k", "val.en"), encoding="utf-8") as file:
        return file.read().splitlines()


@pytest.fixture(scope="module")
def lines():
    return english() + SENTENCES[:-2]


@pytest.fixture(scope="module", params=text.KINDS)
def vocabulary(request, lines):
    return text.learn(lines, 600, request.param)


def random_texts(number):
    """Texts of up to 30 code points: ASCII, a few scripts, and everything."""
    generator = np.random.default_rng(0)
    for high in np.resize([0x80, 0x600, 0x3100, 0x20000, 0x110000], number):
        codes = generator.integers(0, high, generator.integers(1, 30))
        # Half characters are in no text.
        yield "".join(chr(c) for c in codes if not 0xD800 <= c < 0xE000)


def real_texts():
    with open(real_data("multi30k", "test2016.de"), encoding="utf-8") as file:
        yield from file.read().splitlines()
    with open(real_data("xquad", "xquad.en.json"), encoding="utf-8") as file:
        for article in json.load(file)["data"][:10]:
            yield from (each["context"] for each in article["paragraphs"])


def in_graph(function, *dtypes):
    signature = [tf.TensorSpec([None] * rank, dtype) for dtype, rank in dtypes]
    return tf.function(function, input_signature=signature, autograph=False)


def assert_same(encode, vocabulary, texts):
    found = encode(tf.constant(texts))
    assert found.dtype == tf.int32
    expected = vocabulary.encode_many(texts)
    for sentence, ids, other in zip(texts, found.to_list(), expected, strict=True):
        assert other.dtype == np.int32
        assert ids == other.tolist(), repr(sentence)
        assert ids[-1] == text.EOS and ids.count(text.EOS) == 1
        assert text.PAD not in ids


def test_graph_and_package_give_the_same_ids(vocabulary):
    encode = in_graph(vocabulary.encode, (tf.string, 1))
    assert_same(encode, vocabulary, SENTENCES)
    assert_same(encode, vocabulary, list(random_texts(3000)))
    assert_same(encode, vocabulary, list(real_texts()))
    assert encode(tf.constant([], tf.string)).shape[0] == 0
    assert vocabulary.encode_many([]) == []


def test_invalid_utf8_is_unknown(vocabulary):
    whole, broken, nothing = vocabulary.encode(
        tf.constant([b"A man ! in an", b"A man \xff! in an", b"\xe2\x82"])
    ).to_list()
    at = broken.index(text.UNKNOWN)
    assert broken[:at] == whole[:at] and broken[-4:] == whole[-4:]
    assert text.UNKNOWN in nothing and nothing[-1] == text.EOS


def test_decodes_what_it_encodes(vocabulary):
    decode = in_graph(vocabulary.decode, (tf.int32, 2))
    texts = english()
    ids = vocabulary.encode(tf.constant(texts)).to_tensor(text.PAD)
    found = [sentence.decode() for sentence in decode(ids).numpy()]
    # Blanks beside each other are one.
    assert found == [" ".join(sentence.split()) for sentence in texts]


def test_decodes_up_to_the_first_end(vocabulary):
    ids = vocabulary.encode(tf.constant(SENTENCES[:2])).to_tensor(text.PAD, [2, 99])
    behind = tf.constant([[7, 8, 1, 9], [0, 1, 1, 9]])
    found = vocabulary.decode(tf.concat([ids, behind], axis=1)).numpy()
    assert [sentence.decode() for sentence in found] == SENTENCES[:2]
    nothing = [[text.PAD] * 3, [text.EOS, 9, 9]]
    assert vocabulary.decode(tf.constant(nothing)).numpy().tolist() == [b"", b""]


def test_pieces_of_its_own(vocabulary):
    """`</s>` and `<pad>` in a text are characters as any others."""
    (ids,) = vocabulary.encode_many(["</s> <pad>"])
    assert len(ids) > 4 and text.PAD not in ids


def test_facts_and_copies_for_other_processes(vocabulary):
    facts = json.loads(json.dumps(vocabulary.to_facts()))
    vocabulary.encode(tf.constant(["A man"]))
    for copy in (text.from_facts(facts), pickle.loads(pickle.dumps(vocabulary))):
        assert copy.to_facts() == vocabulary.to_facts()
        assert copy.vocab_size == vocabulary.vocab_size == 600
        for ids, other in zip(
            copy.encode_many(SENTENCES), vocabulary.encode_many(SENTENCES), strict=True
        ):
            np.testing.assert_array_equal(ids, other)


def test_is_served(vocabulary, tmp_path):
    module = tf.Module()
    module.resources = vocabulary.resources
    module.encode = in_graph(vocabulary.encode, (tf.string, 1))
    module.decode = in_graph(vocabulary.decode, (tf.int32, 2))
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    assert_same(loaded.encode, vocabulary, SENTENCES + list(random_texts(500)))
    ids = loaded.encode(tf.constant(SENTENCES[:2])).to_tensor(text.PAD)
    found = loaded.decode(ids).numpy()
    assert [sentence.decode() for sentence in found] == SENTENCES[:2]


# ---- Learning ----


@pytest.mark.parametrize("most_lines", [10_000, 500])
def test_another_process_learns_the_same(monkeypatch, lines, most_lines):
    """Also where there are more lines than are learnt from."""
    monkeypatch.setattr(text, "_MOST_LINES", most_lines)
    script = (
        "import json, sys\n"
        "from official.transformer import text\n"
        "lines, text._MOST_LINES = json.load(sys.stdin)\n"
        "learnt = [text.learn(lines, 600, kind) for kind in text.KINDS]\n"
        "print(json.dumps([each.to_facts() for each in learnt]))\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script],
        cwd=PROJECT_ROOT,
        input=json.dumps([lines, most_lines]),
        capture_output=True,
        text=True,
        check=True,
    )
    learnt = [text.learn(lines, 600, kind).to_facts() for kind in text.KINDS]
    assert json.loads(ran.stdout) == learnt
    assert learnt[0] != learnt[1]


def test_draws_lines_of_all(monkeypatch):
    monkeypatch.setattr(text, "_MOST_LINES", 1000)
    drawn = text._drawn(map(str, range(10_000)))
    numbers = np.array(sorted(map(int, drawn)))
    assert len(set(numbers)) == 1000
    # Of each tenth 100, give or take four standard deviations of 9.
    counts = np.histogram(numbers, bins=10, range=(0, 10_000))[0]
    assert (abs(counts - 100) < 4 * 9.5).all()


@pytest.mark.parametrize("kind", text.KINDS)
def test_small_texts_give_fewer_pieces(kind):
    learnt = text.learn(["a b a b ab"] * 5, 1000, kind)
    assert 5 <= learnt.vocab_size < 20
    assert max(learnt.encode_many(["ab ba"])[0]) < learnt.vocab_size
    # What the text lacks is unknown, and is not lost without a trace.
    (ids,) = learnt.encode_many(["a q"])
    assert text.UNKNOWN in ids


def test_texts_that_teach_nothing():
    for sentences in ([], ["", " ", "  "], ["a" * 20_000]):
        message = message_of(text.learn, sentences, 5000)
        assert "no vocabulary of 5000 pieces can be learnt" in message
        assert "give another --vocab_size, or more text" in message
    letters = ["abcdefghijklmnopqrstuvwxyz"] * 3
    # 26 letters, the blank, padding, end and unknown.
    message = message_of(text.learn, letters, 9)
    assert "(its characters alone need 30)" in message
    assert text.learn(letters, 30).vocab_size == 30
    assert message_of(text.learn, ["a"], 9, "word") == (
        "--vocab_kind=word: should be among unigram, bpe"
    )


# ---- Files ----


def test_files(vocabulary, tmp_path):
    path = tmp_path / "pieces.model"
    model = base64.b64decode(vocabulary.to_facts()["sentencepiece"])
    path.write_bytes(model)
    assert text.read(str(path)).to_facts() == vocabulary.to_facts()
    for content in (b"nothing of the kind", b"[PAD]\n[UNK]\n", bytes(range(256)) * 9):
        path.write_bytes(content)
        message = message_of(text.read, str(path))
        assert message.startswith(f"--vocab_file={path}: ")
        assert "name a SentencePiece model or a subtoken file of 2019" in message
    path.write_bytes(b"")
    assert f"{path} is empty" in message_of(text.read, str(path))
    path.unlink()
    assert f"{path} does not exist" in message_of(text.read, str(path))


def test_models_that_end_too_early(vocabulary):
    model = base64.b64decode(vocabulary.to_facts()["sentencepiece"])
    for length in (0, 1, 100, len(model) // 2, len(model) - 1):
        assert message_of(text.SentencePieceText, model[:length])


def test_models_with_other_ids(tmp_path):
    import sentencepiece

    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(english()),
        model_prefix=str(tmp_path / "default"),
        vocab_size=300,
        minloglevel=2,
    )
    message = message_of(text.read, str(tmp_path / "default.model"))
    assert "has padding -1 and end of sentence 2, where 0 and 1 are" in message
    assert "--pad_id=0 --eos_id=1 --unk_id=2 --bos_id=-1" in message


@pytest.mark.parametrize("package", ["sentencepiece", "tensorflow_text"])
def test_missing_packages(monkeypatch, vocabulary, package):
    facts = vocabulary.to_facts()
    monkeypatch.setitem(sys.modules, package, None)
    name = package.replace("_", "-")
    assert message_of(lambda: text.from_facts(facts).encode(["a"])) == (
        f"translation needs {name}: pip install 'official-models[text]'"
    )
