"""The breaker: it opens, tries, and closes; all by numbers."""

from __future__ import annotations

from mlflow_utilities.serving.breaker import Breaker


def opened(at: float = 0.0) -> Breaker:
    """Return a breaker that was opened by five failures; its pause is 30 s, at most 100 s."""
    breaker = Breaker(failures=5, pause=30.0, longest=100.0)
    for _ in range(5):
        breaker.failed(at)
    return breaker


def test_failures_in_a_row_open_it() -> None:
    """It opens with the fifth failure in a row, and a success in between starts the count again."""
    breaker = Breaker(failures=5, pause=30.0)
    for outcome in "ffffsffff":
        assert breaker.allows(0.0)
        breaker.failed(0.0) if outcome == "f" else breaker.succeeded()
    assert not breaker.is_open(0.0)

    breaker.failed(0.0)

    assert breaker.is_open(0.0)
    assert not breaker.allows(29.9)


def test_a_share_of_failures_opens_it() -> None:
    """It opens when half of the last twenty calls failed, although never two in a row did."""
    breaker = Breaker(failures=5, rate=0.5, window=20)
    for _ in range(9):
        breaker.failed(0.0)
        breaker.succeeded()
    breaker.succeeded()
    assert not breaker.is_open(0.0)

    breaker.failed(0.0)

    assert breaker.is_open(0.0)


def test_fewer_failures_leave_it_closed() -> None:
    """A share below the limit never opens it."""
    breaker = Breaker(failures=5, rate=0.5, window=20)
    for _ in range(100):
        breaker.failed(0.0)
        breaker.succeeded()
        breaker.succeeded()
        assert not breaker.is_open(0.0)


def test_a_single_trial_follows_the_pause() -> None:
    """After the pause one call is let through, and no other until its outcome is known."""
    breaker = opened()

    assert not breaker.is_open(30.0)
    assert breaker.allows(30.0)
    assert not breaker.allows(30.0)
    assert breaker.is_open(30.0)

    breaker.succeeded()

    assert all(breaker.allows(30.0) for _ in range(10))


def test_the_pause_doubles_with_each_failed_trial() -> None:
    """30, 60 and then 100 seconds, the longest; a trial that succeeds makes it short again."""
    breaker, now = opened(), 0.0
    for pause in (30.0, 60.0, 100.0, 100.0):
        assert not breaker.allows(now + pause - 0.1)
        now += pause
        assert breaker.allows(now)
        breaker.failed(now)
    assert breaker.allows(now + 100.0)
    breaker.succeeded()
    for _ in range(5):
        breaker.failed(now)

    assert not breaker.allows(now + 29.9)
    assert breaker.allows(now + 30.0)


def test_a_lost_trial_is_followed_by_another() -> None:
    """A trial whose outcome never comes does not keep it open for ever."""
    breaker = opened()
    assert breaker.allows(30.0)

    assert not breaker.allows(59.9)
    assert breaker.allows(60.0)


def test_late_outcomes_do_not_count() -> None:
    """What was under way when it opened neither closes it nor makes the pause longer."""
    breaker = opened()

    breaker.succeeded()
    assert breaker.is_open(29.9)
    breaker.failed(29.0)

    assert breaker.allows(30.0)
