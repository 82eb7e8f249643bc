"""Outputs of frozen text encoders: each caption encoded once, whatever is killed meanwhile."""

import sqlite3
import threading

import pytest
import torch

from otomatch.models import clip_loading
from otomatch.models.caption_cache import text_states
from otomatch.models.encoders import text_encoder
from tests.support.tiny import write_bert

CAPTIONS = ["a dog barks", "rain", "a dog barks", "the deep hum", "rain"]


class Counting:
    """A text encoder that remembers what it was asked for."""

    def __init__(self, encoder):
        self.encoder, self.seen, self.width = encoder, [], encoder.width

    def __call__(self, captions):
        self.seen += captions
        return self.encoder(captions)

    def fingerprint(self):
        return self.encoder.fingerprint()


def test_every_distinct_caption_is_encoded_once_ever(tiny_bert, tmp_path):
    encoder = Counting(text_encoder(str(tiny_bert)))
    states = text_states(encoder, CAPTIONS, tmp_path)
    assert sorted(encoder.seen) == sorted(set(CAPTIONS))
    torch.testing.assert_close(states, encoder.encoder(CAPTIONS), rtol=1e-5, atol=1e-5)
    encoder.seen.clear()
    assert torch.equal(text_states(encoder, CAPTIONS, tmp_path), states)
    assert encoder.seen == []
    more = text_states(encoder, ["a shrill tone", *CAPTIONS[::-1]], tmp_path)
    assert encoder.seen == ["a shrill tone"]
    assert torch.equal(more[1:], states.flip(0))


def test_another_process_finds_what_was_encoded(tiny_bert, tmp_path):
    text_states(text_encoder(str(tiny_bert)), CAPTIONS, tmp_path)
    fresh = Counting(text_encoder(str(tiny_bert)))
    text_states(fresh, CAPTIONS, tmp_path)
    assert fresh.seen == []


def test_another_encoder_shares_nothing(tiny_bert, tmp_path):
    first = text_states(text_encoder(str(tiny_bert)), CAPTIONS, tmp_path / "cache")
    others = [
        text_encoder(str(tiny_bert), pooling="cls"),
        text_encoder(str(write_bert(tmp_path / "wide", width=24))),
    ]
    for other in others:
        counting = Counting(other)
        states = text_states(counting, CAPTIONS, tmp_path / "cache")
        assert len(counting.seen) == 3
        assert states.shape == (5, other.width)
        assert states.shape != first.shape or not torch.allclose(states, first, atol=1e-3)


def test_no_captions_need_no_encoder(tiny_bert, tmp_path):
    encoder = Counting(text_encoder(str(tiny_bert)))
    assert text_states(encoder, [], tmp_path).shape == (0, 16)
    assert encoder.seen == []


def test_what_was_encoded_before_a_kill_is_kept(tiny_bert, tmp_path, monkeypatch):
    monkeypatch.setattr(clip_loading, "CHUNK", 1)  # 16 captions at a time
    captions = [f"rain {'a ' * i}dog" for i in range(40)]
    encoder = Counting(text_encoder(str(tiny_bert)))
    expected = text_states(encoder, captions, tmp_path / "whole")
    encoder.seen.clear()

    class Killed(Counting):
        def __call__(self, captions):
            if len(self.seen) >= 32:
                raise KeyboardInterrupt
            return super().__call__(captions)

    with pytest.raises(KeyboardInterrupt):
        text_states(Killed(encoder.encoder), captions, tmp_path / "cache")
    assert torch.equal(text_states(encoder, captions, tmp_path / "cache"), expected)
    assert len(encoder.seen) == 8


def test_many_writers_at_once_lose_nothing(tiny_bert, tmp_path, monkeypatch):
    monkeypatch.setattr(clip_loading, "CHUNK", 1)
    encoder = text_encoder(str(tiny_bert))
    captions = [f"rain {'a ' * i}dog" for i in range(30)]
    found, errors = {}, []

    def work(i):
        try:
            found[i] = text_states(encoder, captions[i * 3 :], tmp_path)
        except sqlite3.Error as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    expected = encoder(captions)
    for i, states in found.items():
        torch.testing.assert_close(states, expected[i * 3 :], rtol=1e-5, atol=1e-5)
    counting = Counting(encoder)
    text_states(counting, captions, tmp_path)
    assert counting.seen == []
