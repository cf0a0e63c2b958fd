from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serving.grant import Rate
from serving.rate_limit import RateLimits


class Bucket:
    """The reference: a bucket that fills by time and gives one token to each request."""

    def __init__(self, rate: Rate) -> None:
        self.rate, self.tokens, self.at = rate, float(rate.burst), 0.0

    def take(self, now: float) -> bool:
        self.tokens = min(self.rate.burst, self.tokens + (now - self.at) * self.rate.per_s)
        self.at = now
        if self.tokens < 1.0 - 1e-6:
            return False
        self.tokens -= 1.0
        return True


@given(
    per_s=st.sampled_from([0.5, 1.0, 8.0]),
    burst=st.integers(1, 5),
    pauses=st.lists(st.sampled_from([0.0, 0.125, 0.5, 2.0, 60.0]), max_size=40),
)
def test_it_lets_through_what_a_bucket_of_tokens_does(per_s: float, burst: int, pauses: list[float]) -> None:
    now = [0.0]
    rate, limits = Rate(per_s, burst), RateLimits(clock=lambda: now[0])
    bucket = Bucket(rate)
    for pause in pauses:
        now[0] += pause
        verdict = limits.take("key", rate)
        assert verdict.is_allowed == bucket.take(now[0])
        assert verdict.remaining == int(bucket.tokens + 1e-6)
        assert verdict.reset_s == (burst - bucket.tokens) / per_s


def test_a_request_that_waited_as_long_as_it_was_told_is_let_through() -> None:
    now = [0.0]
    limits, rate = RateLimits(clock=lambda: now[0]), Rate(3.0, 1)
    limits.take("key", rate)
    now[0] += limits.take("key", rate).retry_s

    assert limits.take("key", rate).is_allowed


def test_names_have_limits_of_their_own() -> None:
    limits, rate = RateLimits(clock=lambda: 0.0), Rate(1.0, 1)

    assert limits.take("a", rate).is_allowed
    assert limits.take("b", rate).is_allowed
    assert not limits.take("a", rate).is_allowed
