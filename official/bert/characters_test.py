import zlib

import numpy as np
import pytest
import tensorflow as tf

from official.bert import characters
from official.bert.text import Words

# All code points of the table, and some that share a row.
CODES = (
    *(code for code in range(0x34000) if not 0xD800 <= code < 0xE000),
    *range(0xE0000, 0xE0200),
    *(0x34000, 0x3FFFE, 0xDFFFF, 0xE0200, 0xEFFFF),
    *(0xF0000, 0xFFFFD, 0xFFFFE, 0xFFFFF, 0x100000, 0x10FFFD, 0x10FFFE, 0x10FFFF),
)


@pytest.mark.parametrize("lower_case", [True, False], ids=["uncased", "cased"])
def test_every_code_point_is_as_in_the_reference(lower_case):
    tokenizers = pytest.importorskip("tokenizers")
    normalizer = tokenizers.normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=True,
        strip_accents=None,
        lowercase=lower_case,
    )
    splitter = tokenizers.pre_tokenizers.BertPreTokenizer()
    texts = [f"a{chr(code)}b" for code in CODES]
    ours = Words(lower_case).split(tf.constant(texts))
    ours = [[word.decode() for word in words] for words in ours.to_list()]
    stand_in = chr(characters.STAND_IN)
    for text, found in zip(texts, ours, strict=True):
        words = splitter.pre_tokenize_str(normalizer.normalize_str(text))
        expected = [word for word, _ in words]
        # What no script uses is written as one of them.
        if stand_in in "".join(found):
            assert ord(text[1]) >= 0x34000
            expected = [word.replace(text[1], stand_in) for word in expected]
        assert found == expected, hex(ord(text[1]))


def test_table_is_the_same_for_every_version_of_python():
    found = {
        lower_case: [
            zlib.crc32(values.tobytes())
            for values in (table.splits, table.codes, table.kinds, table.is_accent)
        ]
        for lower_case, table in (
            (lower_case, characters.table(lower_case)) for lower_case in (True, False)
        )
    }
    assert found == {
        True: [832152553, 3269991745, 486077298, 2564842775],
        False: [3995718557, 2271091080, 3626361461, 3525502985],
    }


def test_rows():
    codes = [0, 65, 0x33FFF, 0x34000, 0xE0000, 0xE01FF, 0xE0200, 0xF0000]
    letters, dropped = 0x34200, 0x34201
    expected = [0, 65, 0x33FFF, letters, 0x34000, 0x341FF, letters, dropped]
    assert characters.rows(np.array(codes)).tolist() == expected
    assert characters.rows(tf.constant(codes), tf).numpy().tolist() == expected


def test_words_of_one_character():
    marks = "!$+~¿«—、北\U0002a700"
    assert all(characters.is_word(each, True) for each in marks)
    assert not any(characters.is_word(each, True) for each in "a0éßжक가あ½€")
