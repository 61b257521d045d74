# ruff: noqa: RUF001 - letters of other scripts that look like Latin ones.
import subprocess
import sys
import unicodedata

import numpy as np
import pytest
import tensorflow as tf

from official.bert import text, vocabulary
from official.bert.vocabulary import SPECIAL
from official.utils.testing.data import real_data

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
    "a" * 100,
    "b" * 101 + " short " + "é" * 100,
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
)


def published():
    return vocabulary.read(real_data("vocab", "bert-uncased", "vocab.txt"))


@pytest.fixture(scope="module")
def pieces():
    """The published vocabulary, with what it lacks of scripts and capitals."""
    known = published()
    extra = ["Straße", "##TRASSE", "İ", "##stanbul", "Σ", "##ς", "é", "##é", "Ä", "##ü"]
    extra += [chr(code) for code in range(ord("A"), ord("Z") + 1)]
    extra += ["##" + chr(code) for code in range(ord("A"), ord("Z") + 1)]
    return known + [piece for piece in dict.fromkeys(extra) if piece not in known]


@pytest.fixture(scope="module", params=[True, False], ids=["uncased", "cased"])
def pair(request, pieces):
    """Ours and the reference, over one vocabulary."""
    tokenizers = pytest.importorskip("tokenizers")
    reference = tokenizers.BertWordPieceTokenizer(
        {piece: i for i, piece in enumerate(pieces)}, lowercase=request.param
    )
    # It takes special pieces out of the text before anything else; ours are never
    # special in what a user wrote.
    reference = tokenizers.Tokenizer(reference._tokenizer.model)
    reference.normalizer = tokenizers.normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=True,
        strip_accents=None,
        lowercase=request.param,
    )
    reference.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    return text.Tokenizer(pieces, request.param), reference


def assert_same(pair, sentences):
    ours, reference = pair
    found = ours.tokenize(tf.constant(sentences)).to_list()
    for sentence, ids in zip(sentences, found, strict=True):
        expected = reference.encode(sentence, add_special_tokens=False).ids
        assert ids == expected, sentence


def test_real_sentences_of_many_scripts(pair):
    assert_same(pair, SENTENCES)


def test_real_english(pair):
    path = real_data("glue", "SST-2", "dev.tsv")
    with open(path, encoding="utf-8") as file:
        assert_same(pair, file.read().splitlines())


def test_random_unicode(pair):
    generator = np.random.default_rng(0)
    # Planes with characters, and within the first one the blocks of usual scripts.
    blocks = [(0, 0x250), (0, 0x3000), (0x3000, 0xD800), (0xE000, 0x20000)]
    blocks += [(0x20000, 0x30000), (0x30000, 0x110000)]
    sentences = []
    for _ in range(2000):
        first, end = blocks[generator.integers(len(blocks))]
        codes = generator.integers(first, end, generator.integers(1, 40))
        # What this Python does not know yet, the reference may.
        characters = (chr(code) for code in codes)
        sentences.append(
            "".join(
                c for c in characters if unicodedata.category(c) not in ("Cn", "Cs")
            )
        )
    assert_same(pair, sentences)


def test_invalid_utf8_is_passed_over(pair):
    ours, reference = pair
    broken = b"good \xff\xfe text \xc3( and \xe2\x82 more"
    (found,) = ours.tokenize(tf.constant([broken])).to_list()
    text_of_it = broken.decode("utf-8", errors="replace")
    assert found == reference.encode(text_of_it, add_special_tokens=False).ids


def test_special_pieces_in_text_are_plain_words(pieces):
    ours = text.Tokenizer(pieces)
    (found,) = ours.tokenize(tf.constant(["[MASK] [CLS]"])).to_list()
    assert ours.mask_id not in found
    assert [pieces[i] for i in found] == ["[", "mask", "]", "[", "cl", "##s", "]"]


def test_offsets_point_at_the_words_of_each_piece(pieces):
    ours = text.Tokenizer(pieces)
    sentence = "Déjà-vu in the Strassenbahn, cafe\u0301 x 北京!"
    ids, starts, ends = ours.tokenize_with_offsets(tf.constant([sentence, ""]))
    assert ids.to_list() == ours.tokenize(tf.constant([sentence, ""])).to_list()
    content = sentence.encode()
    words = [
        content[start:end].decode()
        for start, end in zip(starts[0].numpy(), ends[0].numpy(), strict=True)
    ]
    unique = list(dict.fromkeys(words))
    assert unique == [
        *("Déjà", "-", "vu", "in", "the", "Strassenbahn", ",", "cafe\u0301", "x"),
        *("北", "京", "!"),
    ]
    assert words.count("Strassenbahn") > 1
    assert starts[1].shape == ends[1].shape == (0,)


@pytest.mark.parametrize("sentences", [SENTENCES], ids=["scripts"])
def test_offsets_rebuild_what_the_pieces_say(pair, sentences):
    ours, _ = pair
    ids, starts, ends = ours.tokenize_with_offsets(tf.constant(sentences))
    assert ids.to_list() == ours.tokenize(tf.constant(sentences)).to_list()
    for sentence, first, last in zip(
        sentences, starts.to_list(), ends.to_list(), strict=True
    ):
        content = sentence.encode()
        assert all(0 <= a < b <= len(content) for a, b in zip(first, last, strict=True))
        for a, b in zip(first, last, strict=True):
            content[a:b].decode()


def test_words_of_texts():
    ours = text.Tokenizer(SPECIAL)
    found = ours.words(tf.constant(["Hello, WORLD", "", "x" * 101])).to_list()
    assert found == [[b"hello", b",", b"world"], [], [b""]]


def test_runs_inside_a_saved_model(tmp_path, pieces):
    ours = text.Tokenizer(pieces)
    module = tf.Module()
    module.call = tf.function(
        lambda texts: ours.tokenize(texts).to_tensor(),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )
    tf.saved_model.save(module, str(tmp_path / "saved"))
    script = (
        "import sys, tensorflow as tf, tensorflow_text\n"
        "call = tf.saved_model.load(sys.argv[1]).call\n"
        "print(call(tf.constant(['Hello, wonderful world!'])).numpy().tolist())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "saved")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    expected = ours.tokenize(tf.constant(["Hello, wonderful world!"])).to_list()
    assert done.stdout.strip() == str(expected)
