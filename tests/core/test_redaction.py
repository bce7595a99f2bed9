"""No secret passes `redact`, whatever stands around it; and plain words do."""

from __future__ import annotations

import pytest
import requests

from core.redaction import is_secret_name, network_error, redact

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiIxIn0.c2lnbmF0dXJlLXNlY3JldA"
AWS = "https://b.s3.amazonaws.com/f?X-Amz-Algorithm=AWS4&X-Amz-Credential=AKIASECRET%2F20&X-Amz-Signature=0123secret89"
# Each holds a secret in which "secret", in any case, is written.
SECRETS = [
    "sk_live_spl_4fK9xQ2mSecret1nZ8cR5wY3pL6hJ0gDaE1x2y3z",
    "ghs_16C7e42Secret12E7710c838347Ae178B4a",
    "ghs_12345.eyJhbGciOi.x-y_zSECRET",
    "ghp_16C7e42FSecret",
    "gho_16C7e42FSecret",
    "github_pat_11ABCDEFG0abcdSecret_klmnopqrstuvwxyz",
    "whsec_MfKQ9r8GKYqrSecret/D8ILPZIo2LaLaSw==",
    f"GITHUB_JWT {JWT.replace('c2lnb', 'secret')}",
    "Bearer 0123456789secret.0123456789",
    "Authorization: Basic dXNlcjpzZWNyZXQ=secret",
    "{'authorization': 'token secret'}",
    '{"Authorization":"secret"}',
    "/api/v1/casts/1/events?after=5&token=1vX.aBcDeF-secret_x",
    "https://x.blob.core.windows.net/c/f.zip?se=2026&sig=aSecret%2F%3D",
    AWS,
    f"GET {AWS} failed",
    "https%3A%2F%2Fx%2Ff%3Fsig%3Dsecret",
    "https://storage.googleapis.com/x?X-Goog-Signature=secret",
    "postgresql://spell:p%40secret@db:5432/spell",
    "Cookie: csrftoken=secret; sessionid=secret",
    '{"X-Amz-Security-Token": "secret"}',
    "Max retries exceeded with url: /f.zip?anything=secret (Caused by TimeoutError())",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEsecret\n-----END RSA PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY-----\\nMIIEsecret",
]
PLAIN = [
    *("gh", "weigh_bridge", "high_score", "GitHub", "sha256:0123456789abcdef0123456789abcdef01234567"),
    "the spell sk_live and ghs and -----BEGIN CERTIFICATE----- stay",
    "the bearer of this token=",
    "sk_live_spl_4fK9xQ2m",  # a key's public prefix
    "https://spells.example.com/casts/1?after=5&design=blue",
    "a@b.example: no tokens left, signature: none",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("around", ["{}", "x {} y", '"{}"', "({})", "could not: <{}>, gave up"])
def test_a_secret_is_cut(secret: str, around: str) -> None:
    left = redact(around.format(secret))
    assert "secret" not in left.lower().replace("x-amz-security", "").replace("secret_name", "")
    assert "…" in left


@pytest.mark.parametrize("text", PLAIN)
def test_plain_words_stay(text: str) -> None:
    assert redact(text) == text


def test_what_stands_around_stays_and_a_key_can_still_be_found() -> None:
    assert redact(f"before {SECRETS[0]} after") == "before sk_live_spl_4fK9xQ2m… after"
    assert redact("/events?after=5&token=abc&x=1") == "/events?after=5&token=…&x=1"
    assert redact(f"a {SECRETS[-2]} b") == "a -----BEGIN RSA PRIVATE KEY-----… b"


@pytest.mark.parametrize("name", ["Authorization", "cookie", "token", "X-Amz-Signature", "api_key"])
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)
    assert not is_secret_name(f"{name}s_count")


@pytest.mark.parametrize("path", ["/f.zip?sig=aSecret", "/aSecret/f.zip"])
def test_a_network_error_names_class_and_host_and_nothing_of_the_address(path: str) -> None:
    url = f"http://127.0.0.1:9{path}"
    with pytest.raises(requests.ConnectionError) as raised:
        requests.get(url, timeout=1)
    assert "Secret" in str(raised.value)
    said = network_error(raised.value, url)
    assert said == "ConnectionError by ConnectionRefusedError (Connection refused) at 127.0.0.1:9"
    assert network_error(TimeoutError(), "https://user:Secret@[bad/") == "TimeoutError at an unknown host"
