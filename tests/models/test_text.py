"""The text: files of all kinds, windows, batches, entropy."""

import numpy as np
import pytest

import tinygrad_edu as te
from models.command import UserError
from models.text import Corpus, default_text, fixed_batches, random_batch, read_text, unigram_entropy, windows
from models.tokenizer import CharTokenizer


def test_the_default_text_is_the_same_each_time_and_repeats_no_passage():
    text = default_text()
    assert text == default_text()
    assert len(text) > 300_000
    passages = text.strip().split("\n\n")
    assert len(passages) == len(set(passages))
    assert 'The "assert" statement' in text


def test_a_file_with_the_line_ends_and_the_mark_of_windows(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo \xc3\xa9\r\n")
    assert read_text(path) == "one\ntwo é\n"


@pytest.mark.parametrize(
    ("content", "complaint"), [(b"", "empty"), (b" \n\t", "empty"), (b"ab\xffc", "not UTF-8 text: byte 2 is 0xff")]
)
def test_a_file_that_is_no_text_is_one_error(content, complaint, tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=complaint):
        read_text(path)


def test_no_file_is_one_error(tmp_path):
    with pytest.raises(UserError, match="is a folder"):
        read_text(tmp_path)
    with pytest.raises(UserError, match="No such file"):
        read_text(tmp_path / "missing")


def test_the_last_tenth_validates():
    text = "ab" * 50
    corpus = Corpus.of(text, CharTokenizer.of(text), context=4)
    assert (len(corpus.train), len(corpus.validation)) == (90, 10)


def test_the_shortest_text_and_one_shorter():
    tokenizer = CharTokenizer.of("abcdefgh")
    corpus = Corpus.of("abcdefgh", tokenizer, context=3)
    assert (len(corpus.train), len(corpus.validation)) == (4, 4)
    inputs, targets = random_batch(corpus.train, 2, 3)
    assert inputs.tolist() == [[0, 1, 2]] * 2
    assert targets.tolist() == [[1, 2, 3]] * 2
    assert len(fixed_batches(corpus.validation, 2, 3, limit=9)) == 1
    with pytest.raises(UserError, match="too short: 7 tokens, but a context of 3 needs 8"):
        Corpus.of("abcdefg", tokenizer, context=3)


def test_random_batches_follow_the_seed_and_reach_both_ends():
    ids = np.arange(10)
    te.manual_seed(3)
    first = random_batch(ids, 200, 4)
    te.manual_seed(3)
    again = random_batch(ids, 200, 4)
    np.testing.assert_array_equal(first, again)
    inputs, targets = first
    assert inputs.shape == targets.shape == (200, 4)
    np.testing.assert_array_equal(targets, inputs + 1)
    assert inputs.min() == 0
    assert targets.max() == 9


def test_fixed_batches_cover_the_text_and_draw_nothing():
    te.manual_seed(0)
    before = te.random.generator().bit_generator.state
    batches = fixed_batches(np.arange(101), batch_size=3, context=10, limit=7)
    assert te.random.generator().bit_generator.state == before
    assert [len(inputs) for inputs, _ in batches] == [3, 3, 1]
    assert batches[0][0][0, 0] == 0
    assert batches[-1][1][-1, -1] == 100


def test_windows():
    inputs, targets = windows(np.arange(9) * 10, np.array([2]), 3)
    assert inputs.tolist() == [[20, 30, 40]]
    assert targets.tolist() == [[30, 40, 50]]


def test_entropy():
    assert unigram_entropy(np.array([7, 7, 7])) == 0
    assert unigram_entropy(np.arange(8)) == pytest.approx(np.log(8))
