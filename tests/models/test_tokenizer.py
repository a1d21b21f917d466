"""Tokenizers: round trips, what is unknown, and files that are none."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.command import UserError
from models.tokenizer import BytePairTokenizer, CharTokenizer, Tokenizer, WordTokenizer, load_tokenizer

TEXT = "The cat sat.\n\n  The naïve cat, 東京 ☃ and e\u0301: 12_3!\t"


@pytest.mark.parametrize("kind", [CharTokenizer, WordTokenizer])
def test_there_and_back(kind):
    tokenizer = kind.of(TEXT)
    ids = tokenizer.encode(TEXT)
    assert ids.dtype == np.int64
    assert tokenizer.decode(ids) == TEXT
    assert set(ids.tolist()) <= set(range(tokenizer.vocab_size))
    assert tokenizer.encode("").shape == (0,)
    assert tokenizer.decode([]) == ""


@settings(max_examples=30, deadline=None)
@given(st.text(min_size=1))
def test_every_text_comes_back(text):
    for tokenizer in (CharTokenizer.of(text), WordTokenizer.of(text)):
        assert tokenizer.decode(tokenizer.encode(text)) == text


@settings(max_examples=30, deadline=None)
@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_json_there_and_back(text):
    for tokenizer in (CharTokenizer.of(text), WordTokenizer.of(text)):
        again = Tokenizer.from_json(json.loads(json.dumps(tokenizer.to_json())))
        assert type(again) is type(tokenizer)
        assert again.tokens == tokenizer.tokens


def test_an_unknown_character_is_named():
    with pytest.raises(UserError, match=r"not among the 3 characters .* 'é' \(U\+00E9\), '☃' \(U\+2603\)"):
        CharTokenizer.of("abc").encode("aé☃é")


def test_an_unknown_word_is_unk():
    tokenizer = WordTokenizer.of("a b a c", max_size=3)
    assert tokenizer.tokens == ("<unk>", " ", "a")
    assert tokenizer.decode(tokenizer.encode("a bird")) == "a <unk>"
    assert tokenizer.missing("a bird, a bird") == ["bird", ","]
    with pytest.raises(UserError, match="at least 2"):
        WordTokenizer.of("a", max_size=1)


def test_the_most_frequent_words_come_first_and_ties_by_alphabet():
    assert WordTokenizer.of("b a c c").tokens == ("<unk>", " ", "c", "a", "b")


def test_tokens_are_drawn_visibly():
    tokenizer = CharTokenizer.of("a \n\t")
    assert [tokenizer.token(i) for i in range(4)] == ["⇥", "↵", "␣", "a"]


def test_what_stands_before_an_empty_prompt():
    assert CharTokenizer.of("a\nb").start() == 0
    assert CharTokenizer.of("ab").start() == 0
    assert WordTokenizer.of("a\nb c").tokens[WordTokenizer.of("a\nb c").start()] == "\n"


@pytest.mark.parametrize("id", [-1, 3])
def test_an_id_that_is_no_token(id):
    with pytest.raises(ValueError, match=f"there is no token {id}; they go from 0 to 2"):
        CharTokenizer.of("abc").decode([id])


BAD = {
    "[]": "expected|JSON object",
    "{}": "kind None",
    '{"kind": ["char"], "tokens": ["a"]}': "kind",
    '{"kind": "char", "tokens": "ab"}': "list of texts",
    '{"kind": "char", "tokens": ["a", 1]}': "list of texts",
    '{"kind": "char", "tokens": ["a", "a"]}': "twice",
    '{"kind": "char", "tokens": ["ab"]}': "one character",
    '{"kind": "char", "tokens": []}': "no tokens",
    '{"kind": "word", "tokens": ["a"]}': "<unk> is missing",
    '{"kind": "char"': "no JSON",
    "[" * 100_000: "no JSON",
    "\x80": "no JSON",
    '{"model": {"type": "BPE"}}': "no byte-pair tokenizer",
}


@pytest.mark.parametrize("content", BAD, ids=range(len(BAD)))
def test_a_file_that_is_no_tokenizer_is_one_error(content, tmp_path):
    if "model" in content:
        pytest.importorskip("tokenizers")
    (tmp_path / "tokenizer.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=BAD[content]) as error:
        load_tokenizer(tmp_path)
    assert "tokenizer.json" in str(error.value)


def test_a_folder_without_a_tokenizer(tmp_path):
    with pytest.raises(UserError, match="holds no tokenizer"):
        load_tokenizer(tmp_path)
    with pytest.raises(UserError, match=r"missing.json: No such file"):
        load_tokenizer(tmp_path / "missing.json")


# Byte pairs ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def byte_pairs(tmp_path_factory):
    """A folder with GPT-2's two files, learned from a small text."""
    tokenizers = pytest.importorskip("tokenizers")
    folder = tmp_path_factory.mktemp("gpt2")
    engine = tokenizers.ByteLevelBPETokenizer()
    engine.train_from_iterator(["the cat sat on the mat. " * 9], vocab_size=280, show_progress=False)
    engine.add_special_tokens(["<|endoftext|>"])
    engine.save_model(str(folder))
    engine.save(str(folder / "all.json"))
    return folder


def test_byte_pairs_there_and_back(byte_pairs):
    tokenizer = load_tokenizer(byte_pairs)
    assert isinstance(tokenizer, BytePairTokenizer)
    ids = tokenizer.encode(TEXT)
    assert tokenizer.decode(ids) == TEXT
    assert len(tokenizer.encode("the cat")) == 2
    assert tokenizer.token(int(tokenizer.encode(" cat")[0])) == "␣cat"
    assert tokenizer.missing("☃") == []
    again = Tokenizer.from_json(json.loads(json.dumps(tokenizer.to_json())))
    np.testing.assert_array_equal(again.encode(TEXT), ids)
    assert again.vocab_size == tokenizer.vocab_size


def test_byte_pairs_from_one_file_with_an_end_of_text(byte_pairs):
    tokenizer = load_tokenizer(byte_pairs / "all.json")
    assert tokenizer.decode([tokenizer.start()]) == "<|endoftext|>"
    with pytest.raises(ValueError, match="there is no token"):
        tokenizer.decode([tokenizer.vocab_size])


@pytest.mark.parametrize(
    ("vocabulary", "merges"),
    [
        ("{", "a"),
        ('{"a": 0, "b": 1, "ab": 2}', "a a"),
        ('{"a": 0, "ab": 1}', "#version: 0.2\na ab"),
        ('{"a": 0, "b": 0, "ab": 2}', "a b"),
        ('{"a": 4294967295}', ""),
        ('{"a": 0, "b": 1, "ab": 1, "c": 3}', "#version: 0.2\na b\n"),  # a panic, or an error, as chance has it
    ],
)
def test_byte_pairs_of_broken_files_are_one_error(vocabulary, merges, byte_pairs, tmp_path):
    (tmp_path / "vocab.json").write_text(vocabulary)
    (tmp_path / "merges.txt").write_text(merges)
    with pytest.raises(UserError, match="no byte-pair tokenizer") as error:
        load_tokenizer(tmp_path)
    assert "\n" not in str(error.value)


def test_a_panic_of_the_library_is_one_error(byte_pairs, monkeypatch):
    """Rust's panics are no Exceptions: without care they pass every handler."""

    class Panicking:
        def encode(self, *args, **options):
            raise type("PanicException", (BaseException,), {})("range end index 3\nout of range")

    tokenizer = load_tokenizer(byte_pairs)
    monkeypatch.setattr(tokenizer, "engine", Panicking())
    with pytest.raises(UserError, match=r"^the tokenizer cannot read this text: range end index 3 out of range$"):
        tokenizer.encode("ab")


def test_text_that_is_no_unicode_is_one_error(byte_pairs):
    with pytest.raises(UserError, match="not Unicode"):
        load_tokenizer(byte_pairs).encode("a\udc80")


def test_without_the_package_one_line(byte_pairs):
    code = (
        "import sys; sys.modules['tokenizers'] = None\n"
        "from models.tokenizer import load_tokenizer\n"
        "try: load_tokenizer(sys.argv[1])\n"
        "except ValueError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(byte_pairs)], capture_output=True, text=True, check=True)
    assert 'pip install "tinygrad_edu[text]"' in done.stdout
