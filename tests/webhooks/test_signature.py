"""Whether a delivery was signed with our secret."""

import hashlib
import hmac

import pytest

from webhooks.signature import signature_matches

SECRET = "It's a Secret to Everybody"
BODY = b"Hello, World!"
# The test vector of GitHub's documentation.
GOOD = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"


def test_githubs_own_example_is_accepted() -> None:
    assert signature_matches(BODY, GOOD, [SECRET])


@pytest.mark.parametrize("secrets", [["new", SECRET], [SECRET, "old"], ["a", SECRET, "b"]])
def test_any_secret_of_the_list_is_accepted_during_a_change(secrets: list[str]) -> None:
    assert signature_matches(BODY, GOOD, secrets)


@pytest.mark.parametrize(
    ("body", "header", "secrets"),
    [
        (BODY, GOOD, ["another"]),
        (BODY + b" ", GOOD, [SECRET]),
        (b"", GOOD, [SECRET]),
        (BODY, GOOD[:-1] + "0", [SECRET]),
        (BODY, GOOD[:-1], [SECRET]),
        (BODY, GOOD.removeprefix("sha256="), [SECRET]),
        (BODY, GOOD.replace("sha256", "sha1"), [SECRET]),
        (BODY, GOOD.upper(), [SECRET]),
        (BODY, f" {GOOD}", [SECRET]),
        (BODY, "", [SECRET]),
        (BODY, "sha256=", [SECRET]),
        (BODY, "sha256=é", [SECRET]),
    ],
)
def test_everything_else_is_refused(body: bytes, header: str, secrets: list[str]) -> None:
    assert not signature_matches(body, header, secrets)


@pytest.mark.parametrize("secrets", [[], [""], ["", ""]])
def test_without_a_secret_nothing_is_accepted(secrets: list[str]) -> None:
    anybodys = "sha256=" + hmac.new(b"", BODY, hashlib.sha256).hexdigest()
    for header in (anybodys, GOOD, "", "sha256="):
        assert not signature_matches(BODY, header, secrets)


def test_secrets_beyond_ascii_are_taken_as_utf8() -> None:
    header = "sha256=" + hmac.new("Schlüssel".encode(), BODY, hashlib.sha256).hexdigest()
    assert signature_matches(BODY, header, ["Schlüssel"])
