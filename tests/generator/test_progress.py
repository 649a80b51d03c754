"""A stage says how much is done and about how long the rest takes, once that can be known."""

import pytest
from fpverify_generator.run import progress
from fpverify_generator.run.progress import Stage, duration


def test_a_stage_estimates_what_is_left_from_the_time_that_was_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    times, lines = iter([100.0, 102.0, 110.0, 400.0, 500.0]), []
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(times))
    stage = Stage(lines.append, "surrogates", 40, "trained")
    for count in (4, 10, 12, 40):
        stage.done(count)
    assert lines == [
        "surrogates: 4 of 40 trained",
        "surrogates: 10 of 40 trained, about 30 s left",
        "surrogates: 12 of 40 trained, about 12 min left",
        "surrogates: 40 of 40 trained",
    ]


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 s"), (89, "89 s"), (91, "2 min"), (5399, "90 min"), (12600, "3.5 h")]
)
def test_times_are_said_as_people_say_them(seconds: float, words: str) -> None:
    assert duration(seconds) == words
