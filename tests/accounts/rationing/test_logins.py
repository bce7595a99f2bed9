"""Failed logins have to wait, longer and longer; nobody is shut out by what others do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth import hashers
from django.db import connections
from django.test import Client, RequestFactory

from accounts.rationing import logins
from accounts.rationing.models import FailedTries
from core.rationing import RateLimited
from tests.accounts.rationing.conftest import new_process
from tests.accounts.rationing.test_requests import ask

HOME, OFFICE = "203.0.113.1", "203.0.113.2"


@pytest.fixture(autouse=True)
def limits(settings, clock):
    settings.RATION_FAILED_LOGINS, settings.RATION_FAILED_LOGINS_PER_USER = 5, 3
    return clock


def wait(who, *, at=HOME, right=False):
    """Try to log in; return for how many seconds it was refused, 0 if the password was looked at."""
    request = RequestFactory().post("/", REMOTE_ADDR=at)
    try:
        logins.before(request, who)
    except RateLimited as exc:
        return exc.extra["retry_after"]
    if right:
        logins.passed(request, who)
    return 0


@pytest.mark.django_db
def test_an_address_has_some_tries_and_then_waits_twice_as_long_each_time(limits):
    assert [wait(f"user{n}") for n in range(5)] == [0] * 5
    waits = []
    for _ in range(4):
        waits.append(wait("another"))
        assert wait("another", at=OFFICE, right=True) == 0
        limits.now += waits[-1]
        assert wait(f"user{limits.now}") == 0
    assert waits == [1, 2, 4, 8]
    new_process()  # another process knows it as well
    assert wait("another") == 16
    limits.now += 3601
    assert [wait(f"user{n}") for n in range(6)] == [0] * 5 + [1]


@pytest.mark.django_db
def test_a_right_password_costs_nothing(limits):
    assert [wait("ada", right=True) for _ in range(20)] == [0] * 20
    assert [wait(f"user{n}") for n in range(4)] == [0] * 4
    assert [wait("ada", right=True) for _ in range(5)] == [0] * 5
    # Nor does it forgive others' tries: who has an account could guess for ever.
    assert [wait("bob"), wait("bob")] == [0, 1]


@pytest.mark.django_db
def test_nobody_can_shut_a_user_out(limits, settings):
    """A hundred addresses guess one password: each of them waits, and the user does not."""
    for n in range(100):
        assert wait("ada", at=f"198.51.100.{n}") == 0
    assert wait("Ada ", at="198.51.100.99") == 900
    assert wait("bob", at="198.51.100.99") == 0
    assert wait("ada", right=True) == 0
    # Who mistypes once has to wait, but not for ever: others' tries do not make it longer.
    assert wait("ada") == 0
    limits.now += 450
    assert [wait("ada", at=f"198.51.101.{n}") for n in range(20)] == [0] * 20
    assert wait("ada") == 450
    limits.now += 450
    assert wait("ada", right=True) == 0


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_no_more_are_looked_at_than_may_be(limits):
    def one(number):
        try:
            return wait(f"user{number}")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(one, range(60))) == [0] * 5 + [1] * 55


@pytest.mark.django_db
def test_what_was_typed_is_not_kept():
    assert wait("correct horse battery staple") == 0
    assert not FailedTries.objects.filter(name__contains="horse").exists()


@pytest.mark.django_db(transaction=True)
def test_the_login_page_refuses_before_it_hashes(django_user_model, monkeypatch, limits, settings):
    hashed = []
    monkeypatch.setattr(hashers, "verify_password", lambda *given, **how: hashed.append(given) or (False, False))
    django_user_model.objects.create_user("ann", password="x")
    settings.RATION_FAILED_LOGINS_PER_USER = 0
    client = Client()
    answers = [client.post("/login/", {"login": "ann", "password": "y"}) for _ in range(8)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 3
    assert len(hashed) == 5
    assert answers[-1]["Retry-After"] == "1"
    assert "Too many" in answers[-1].text


@pytest.mark.django_db(transaction=True)
def test_who_is_refused_at_the_gate_is_shown_a_page(limits, settings):
    settings.RATION_PER_ADDRESS = 1
    asked = [ask("/login/")[0] for _ in range(2)]
    assert [status for status, *_ in asked] == [200, 429]
    headers = asked[1][1]
    assert headers["Content-Type"].startswith("text/html")
    assert headers["Retry-After"] == "60"
