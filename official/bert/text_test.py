# ruff: noqa: RUF001 - letters of other scripts that look like Latin ones.
import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from official.bert import text, vocabulary
from official.bert.vocabulary import SPECIAL
from official.utils.testing.data import real_data
from official.utils.testing.errors import message_of

# Written for this test: scripts, marks and characters that tokenizers stumble on.
SENTENCES = (
    "The quick brown fox, aged 12, jumps over the lazy dog's back!",
    "Ärger über façade, naïve coöperation, Ångström: São Paulo, Łódź.",
    "Straße, STRASSE und das große ẞ; ﬁne ﬂuff, ½ cup, x² and Ⅻ.",
    "İstanbul'da ılık bir gün; Iğdır, DİYARBAKIR.",
    "Ο Σίσυφος και ο ΟΔΥΣΣΕΥΣ; τί ἐστιν ἀλήθεια;",
    "Съешь же ещё этих мягких французских булок, ёлка и йод.",
    "قَلَم جديد على الطَّاوِلَة، وكتابٌ مفتوح؟",
    "שָׁלוֹם עולם, זהו מבחן־קטן.",
    "हिन्दी में नमस्ते दुनिया। क्षेत्र और ज्ञान",
    "ภาษาไทยไม่มีช่องว่าง และ น้ำใจ",
    "我们在北京看到了一只熊猫。𠀀𪜶 々",
    "日本語のテストです。ガギグ ﾊﾝｶｸ、カタカナー",
    "한국어 문장도 있습니다. 각 각",
    "emoji: 👩🏽‍🚀 🏳️‍🌈 ❤️ 🇩🇪 #️⃣ 😀",
    "tab\there\nnew line\r\nand\u00a0no-break\u3000wide\u2028line\u2029paragraph",
    "zero\u200bwidth\u200djoiner\ufeffmark soft\u00adhyphen bell\u0007 null\u0000 end",
    "replacement \ufffd and [MASK] [CLS] ##ing [unused1] @user http://a.b/c?d=e_f",
    "$100 + 5% = ^caret^ `tick` ~tilde~ <tag> |pipe| \\back\\ «quote» “curly” … – —",
    "combining: e\u0301 o\u0308\u0323 n\u0303 Z\u0351\u036b\u0343 \u0301alone",
    "",
    "   ",
    "\u0301",
    "\u0000",
    "a" * 100,
    "b" * 101 + " short " + "é" * 100,
    "é" * 101 + ",",
    "\U00020000" + "\U0001f600" * 100,
    "\U0001f600" * 101 + " x",
    # 51 syllables of two parts each.
    "가" * 50 + " " + "가" * 51,
)
NEEDS = "needs tensorflow-text: pip install 'official-models[text]'"


@pytest.fixture(scope="module")
def pieces():
    """The published vocabulary, with some of the capitals and accents it lacks."""
    known = vocabulary.read(real_data("vocab", "bert-uncased", "vocab.txt"))
    letters = [chr(code) for code in (*range(ord("A"), ord("Z") + 1), *range(192, 384))]
    extra = ["Straße", "##TRASSE", "İ", "##stanbul", "Σ", "##ς", "The", "##Δ"]
    extra += [*letters, *(f"##{letter}" for letter in letters)]
    return list(dict.fromkeys([*known, *extra]))


@pytest.fixture(scope="module", params=[True, False], ids=["uncased", "cased"])
def lower_case(request):
    return request.param


@pytest.fixture(scope="module")
def ours(pieces, lower_case):
    return text.Tokenizer(pieces, lower_case)


@pytest.fixture(scope="module")
def reference(pieces, lower_case):
    """The library's tokenizer, to which `[MASK]` in a text is text as it is to ours."""
    tokenizers = pytest.importorskip("tokenizers")
    complete = tokenizers.BertWordPieceTokenizer(
        {piece: number for number, piece in enumerate(pieces)}, lowercase=lower_case
    )
    bare = tokenizers.Tokenizer(complete._tokenizer.model)
    bare.normalizer = complete.normalizer
    bare.pre_tokenizer = complete.pre_tokenizer
    return bare


def assert_same(ours, reference, sentences):
    found = ours.tokenize(tf.constant(sentences))
    assert found.dtype == tf.int32
    expected = reference.encode_batch(list(sentences), add_special_tokens=False)
    for sentence, ids, other in zip(sentences, found.to_list(), expected, strict=True):
        assert ids == other.ids, repr(sentence)


def random_texts(seed, ranges, number=2000):
    """Texts of up to 40 code points, each of them from one of the ranges."""
    generator = np.random.default_rng(seed)
    texts = []
    for _ in range(number):
        chosen = generator.integers(len(ranges), size=generator.integers(40))
        codes = [int(generator.integers(*ranges[i])) for i in chosen]
        # Half characters are in no text.
        codes = [code for code in codes if not 0xD800 <= code < 0xE000]
        texts.append("".join(map(chr, codes)))
    return texts


def test_sentences_in_many_scripts(ours, reference):
    assert_same(ours, reference, SENTENCES)


def test_real_english(ours, reference):
    with open(real_data("glue", "SST-2", "dev.tsv"), encoding="utf-8") as file:
        assert_same(ours, reference, file.read().splitlines())
    with open(real_data("xquad", "xquad.en.json"), encoding="utf-8") as file:
        articles = json.load(file)["data"]
    paragraphs = [each for article in articles for each in article["paragraphs"]]
    assert_same(ours, reference, [paragraph["context"] for paragraph in paragraphs])


def test_random_unicode(ours, reference):
    planes = [(0x20, 0x7F), (0, 0x600), (0, 0x3100), (0, 0x20000), (0, 0x110000)]
    assert_same(ours, reference, random_texts(0, planes))


def test_random_ascii(ours, reference):
    # Letters, and everything; with and without control characters.
    for end in (0x7F, 0x80):
        ranges = [(0x61, 0x7B), (0x61, 0x7B), (0x20, 0x7F), (end - 0x7F + 9, end)]
        assert_same(ours, reference, random_texts(end, ranges))
    texts = [f"a {letter * number}, b" for letter in "a!" for number in (99, 100, 101)]
    assert_same(ours, reference, texts)


def test_invalid_utf8_is_passed_over(ours, reference):
    broken = [b"good \xff\xfe text \xc3( and \xe2\x82 more", b"\xed\xa0\x80a", b"\xc3"]
    expected = [
        reference.encode(each.decode(errors="replace"), add_special_tokens=False).ids
        for each in broken
    ]
    assert ours.tokenize(tf.constant(broken)).to_list() == expected


def test_special_pieces_in_text_are_plain_words(pieces):
    ours = text.Tokenizer(pieces)
    special = (ours.pad_id, ours.unknown_id, ours.cls_id, ours.sep_id, ours.mask_id)
    assert special == (0, 100, 101, 102, 103)
    assert ours.size == len(pieces)
    for end in ("", "\u200b"):
        (found,) = ours.tokenize([f"[MASK] [CLS]{end}"]).to_list()
        assert [pieces[i] for i in found] == ["[", "mask", "]", "[", "cl", "##s", "]"]


def test_offsets_are_those_of_words(pieces):
    ours = text.Tokenizer(pieces)
    # With and without characters that are not ASCII.
    for sentence, words in (
        ("Déjà-vu: cafe\u0301 x 北京!", "Déjà - vu : cafe\u0301 x 北 京 !"),
        ("in\ta Strassenbahn,  zzyzx.", "in a Strassenbahn , zzyzx ."),
    ):
        ids, starts, ends = ours.tokenize_with_offsets([sentence])
        assert starts.dtype == ends.dtype == tf.int32
        content = sentence.encode()
        spans = list(zip(starts.to_list()[0], ends.to_list()[0], strict=True))
        found = [content[start:end].decode() for start, end in dict.fromkeys(spans)]
        assert found == words.split(" ")
        # A word of several pieces.
        assert len(spans) > len(found)
        assert ids.to_list() == ours.tokenize([sentence]).to_list()


def test_each_span_alone_has_the_same_pieces(ours):
    texts = [
        *SENTENCES,
        *random_texts(1, [(0x20, 0x7F), (0, 0x600), (0, 0x30000)], 300),
    ]
    ids, starts, ends = (each.to_list() for each in ours.tokenize_with_offsets(texts))
    assert ids == ours.tokenize(texts).to_list()
    contents, expected = [], []
    for row, sentence in enumerate(texts):
        pieces_of = {}
        spans = zip(starts[row], ends[row], strict=True)
        for span, piece in zip(spans, ids[row], strict=True):
            pieces_of.setdefault(span, []).append(piece)
        # Words follow each other.
        places = [place for span in pieces_of for place in span]
        assert places == sorted(places)
        contents += [sentence.encode()[start:end] for start, end in pieces_of]
        expected += pieces_of.values()
    assert len(contents) > 2000
    assert ours.tokenize(contents).to_list() == expected


def test_both_ways_give_the_same_for_ascii(ours):
    with open(real_data("glue", "SST-2", "dev.tsv"), encoding="utf-8") as file:
        texts = [line for line in file.read().splitlines() if line.isascii()]
    texts += ["", " ", "x" * 101 + " y", "\tA  b\n", "#,# ##a"]
    # A character that is dropped changes nothing but the way.
    for plain, other in zip(
        ours.tokenize_with_offsets(texts),
        ours.tokenize_with_offsets([f"{each}\u200b" for each in texts]),
        strict=True,
    ):
        assert plain.to_list() == other.to_list()


def test_order_and_empty_batches(ours):
    for function in (ours.tokenize, lambda texts: ours.tokenize_with_offsets(texts)[1]):
        together = function(SENTENCES[::3]).to_list()
        assert together == [function([each]).to_list()[0] for each in SENTENCES[::3]]
        assert function(tf.constant([], tf.string)).to_list() == []


def test_words():
    texts = ["Hello, WORLD", "", "É" * 101]
    expected = [[b"hello", b",", b"world"], [], [b"e" * 101]]
    assert text.Words(True).split(texts).to_list() == expected


def test_missing_tensorflow_text(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_text", None)
    assert NEEDS in message_of(text.Tokenizer, SPECIAL)


def test_runs_in_a_pipeline_and_in_a_saved_model(tmp_path, pieces):
    ours = text.Tokenizer(pieces)
    texts = ["Hello, wonderful world!", "Hé, tokenization…"]
    expected = ours.tokenize(texts).to_list()
    dataset = tf.data.Dataset.from_tensor_slices(texts).batch(2).map(ours.tokenize)
    assert [batch.to_list() for batch in dataset] == [expected]

    module = tf.Module()
    module.call = tf.function(
        lambda texts: ours.tokenize(texts).to_tensor(-1),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )
    tf.saved_model.save(module, str(tmp_path / "saved"))
    script = (
        "import sys, tensorflow as tf, tensorflow_text\n"
        "call = tf.saved_model.load(sys.argv[1]).call\n"
        "print([[i for i in row if i >= 0] for row in call(sys.argv[2:]).numpy()"
        ".tolist()])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "saved"), *texts],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    assert done.stdout.strip() == str(expected)
