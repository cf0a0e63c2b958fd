from __future__ import annotations

from online.core.update import UPDATES, SessionTouch, Update, encode_update
from online.models.session_blend import BLEND_FILE
from online.models.session_updates import LEARNED_FILE, SessionUpdates
from online.ports import Batch, Message


def update(seq: int, session: int, items: str, was: int = 0) -> Update:
    touches = [SessionTouch(session, item, 10.0 * seq + n, was if n == 0 else 0) for n, item in enumerate(items)]
    return Update(0, seq, {}, touches)


def test_what_took_over_reads_again_and_learns_weights_only_from_what_is_new() -> None:
    stream = [update(seq, seq, "abc" if seq % 2 else "dec") for seq in range(1, 30)]
    whole, first = SessionUpdates(), SessionUpdates()
    for one in stream:
        whole.learn(one)
    for one in stream[:20]:
        first.learn(one)
    files = first.files()
    second = SessionUpdates()
    second.restore(files[BLEND_FILE], files[LEARNED_FILE])
    for one in stream:
        second.learn(one)
    assert second.files() == whole.files()
    assert second.summary()["clicks"] > first.summary()["clicks"]


def test_a_repeated_update_and_one_that_cannot_be_read_change_nothing() -> None:
    model, payload = SessionUpdates(), encode_update(update(1, 7, "abab"))
    model.fold(Batch(UPDATES, 0, [Message("1", payload)]))
    before = model.files()
    model.fold(Batch(UPDATES, 0, [Message("2", payload), Message("3", b"\xc1")]))
    assert model.files() == before


def test_a_session_that_gets_another_key_goes_on() -> None:
    moved, kept = SessionUpdates(), SessionUpdates()
    for model, key in ((moved, 8), (kept, 7)):
        for seq in range(1, 10):
            model.learn(update(seq, 100 + seq, "ab"))
        model.learn(update(10, 7, "a"))
        model.learn(update(11, key, "b", was=7 if key != 7 else 0))
    assert moved.summary() == kept.summary()
