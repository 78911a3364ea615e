from __future__ import annotations

from tutelage.crowd.server.rate_limit import RateLimiter, TokenBucket


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_gives_a_burst_and_then_its_rate() -> None:
    time = Time()
    bucket = TokenBucket(2, 5, time)
    assert [bucket.take() for _ in range(7)] == [True] * 5 + [False] * 2
    time.now = 1.0
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    time.now = 100.0
    assert sum(bucket.take() for _ in range(20)) == 5


def test_everybody_has_a_bucket_and_the_oldest_are_forgotten() -> None:
    time = Time()
    rates = RateLimiter(1, 1, time)
    assert rates.take("a")
    assert not rates.take("a")
    assert rates.take("b")
    assert all(rates.take(str(number)) for number in range(10_000))
    assert rates.take("a")
