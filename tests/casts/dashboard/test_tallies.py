"""What is counted of casts is what a slow look at each of them finds; what was counted wrong or never is put right."""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter

import pytest
from django.utils import timezone

from casts import tallies
from casts.models import Cast, CastTally, Round
from casts.tallies import DAY, HOUR, Tally, day_of, hour_of, percentile, place

pytestmark = pytest.mark.django_db


def rounds() -> None:
    tallies.ensure()
    row = Round.objects.get(name="tallies")
    while (again := tallies.TallyWork().step(row)) is not None and again <= timezone.now():
        pass


def slowly(start, length, spell=None, casts=None):
    """Return what the casts of a span came to, from each of them."""
    found = Tally()
    for cast in Cast.objects.all() if casts is None else casts:
        if not start <= cast.created_at < start + length or (spell is not None and cast.spell_id != spell):
            continue
        found.statuses[cast.status] += 1
        if cast.started_at:
            found.waits[place((cast.started_at - cast.created_at).total_seconds())] += 1
        if cast.started_at and cast.finished_at:
            found.runs[place((cast.finished_at - cast.started_at).total_seconds())] += 1
        if cast.status == "failed" and cast.finished_at:
            found.failed(cast.status_reason, tallies.Failures(1, cast.finished_at, cast.finished_at))
    return found


def is_what_casts_are(counted):
    casts = list(Cast.objects.all())
    for start, spells in counted.last_hours(24):
        assert tallies.together(spells.values()) == slowly(start, HOUR, casts=casts)
    for start, spells in counted.last_days(14):
        for spell, tally in spells.items():
            assert tally == slowly(start, DAY, spell, casts)
        assert tallies.together(spells.values()) == slowly(start, DAY, casts=casts)


def test_tallies_are_what_each_cast_says(many_casts):
    casts = list(Cast.objects.all())
    recent = tallies.load()  # nothing is stored: the last two days are counted on the way
    for start, spells in recent.last_hours(24):
        assert tallies.together(spells.values()) == slowly(start, HOUR, casts=casts)
    rounds()
    is_what_casts_are(tallies.load())
    one = tallies.load(spell=many_casts[1].pk)
    for start, spells in one.last_days(14):
        assert spells.get(many_casts[1].pk, Tally()) == slowly(start, DAY, many_casts[1].pk, casts)
        assert set(spells) <= {many_casts[1].pk}


def test_rounds_put_right_what_changed_was_lost_or_came_twice(many_casts):
    rounds()
    Cast.objects.filter(status="queued").update(status="failed", status_reason="expired", finished_at=timezone.now())
    CastTally.objects.filter(start=day_of(timezone.now()) - 3 * DAY).delete()
    CastTally.objects.filter(start=hour_of(timezone.now()) - 3 * HOUR).delete()
    rounds()
    before = CastTally.objects.count()
    is_what_casts_are(tallies.load())
    start = hour_of(timezone.now()) - 3 * HOUR
    for _ in range(2):  # a second worker does the same
        tallies.store(tallies.Span.HOUR, start, tallies.by_spell(tallies.count(start, start + HOUR).values()))
    assert CastTally.objects.count() == before
    is_what_casts_are(tallies.load())


def test_spans_whose_casts_have_ended_are_not_counted_again(make_cast, django_assert_max_num_queries):
    make_cast(timezone.now() - 3 * DAY)
    still = make_cast(timezone.now() - 2 * DAY, "running")
    rounds()
    again = {start for _, start in tallies.uncounted(timezone.now())}
    assert again <= {day_of(still.created_at), hour_of(still.created_at)}
    assert again


def test_old_tallies_go(spell):
    old = timezone.now() - 500 * DAY
    CastTally.objects.create(span="day", start=old, spell=spell, open=0, counted=Tally().stored())
    CastTally.objects.create(span="hour", start=timezone.now() - 4 * DAY, open=0, counted={})
    rounds()
    assert not CastTally.objects.filter(start__lt=timezone.now() - 3 * DAY, span="hour").exists()
    assert not CastTally.objects.filter(start=old).exists()


@pytest.mark.parametrize("values", [[3.0], [0.0, 0.1, 5.0], [1.0] * 19 + [1000.0], [n * 7.3 for n in range(1, 200)]])
def test_a_percentile_is_the_nearest_rank_to_within_half_a_step(values):
    times = Counter(place(value) for value in values)
    for percent in (50, 95):
        exact = sorted(values)[math.ceil(len(values) * percent / 100) - 1]
        shown = percentile(times, percent)
        assert shown is not None
        assert shown == pytest.approx(max(exact, tallies.LEAST), rel=0.026)
    assert percentile(Counter(), 50) is None


def test_casts_at_the_edge_of_an_hour_belong_to_the_one_in_which_they_were_accepted(make_cast):
    edge = hour_of(timezone.now()) - HOUR
    for away in (-1, 0, 1):
        Cast.objects.filter(pk=make_cast(edge).pk).update(created_at=edge + dt.timedelta(microseconds=away))
    found = tallies.count(edge - HOUR, edge + HOUR)
    assert [tallies.together(spells.values()).casts for spells in found.values()] == [1, 2]
    assert list(tallies.count(edge, edge + HOUR)) == [edge]
