"""Connections whose answers are bounded while they are read: packed, one of some kilobytes may hold gigabytes."""

from __future__ import annotations

from typing import Any

import requests
from requests.adapters import HTTPAdapter

from core.limits import GITHUB_ANSWER_BYTES

CHUNK = 64 * 1024  # bytes, unpacked


class AnswerTooLarge(requests.RequestException):
    """An answer is larger than any that GitHub sends."""


class Bounded(HTTPAdapter):
    """Reads an answer that is not streamed, and each redirect on the way to it, up to GITHUB_ANSWER_BYTES."""

    def send(
        self, request: requests.PreparedRequest, stream: bool = False, *given: Any, **options: Any
    ) -> requests.Response:
        answer = super().send(request, True, *given, **options)
        if not stream or answer.is_redirect:
            read_whole(answer)
        return answer


def read_whole(answer: requests.Response) -> None:
    """Read an answer's content as `requests` would. Raise AnswerTooLarge, or another RequestException."""
    chunks, size = [], 0
    for chunk in answer.iter_content(CHUNK):
        size += len(chunk)
        if size > GITHUB_ANSWER_BYTES:
            answer.close()
            raise AnswerTooLarge(f"more than {GITHUB_ANSWER_BYTES} bytes", response=answer)
        chunks.append(chunk)
    answer._content = b"".join(chunks)


def new_session() -> requests.Session:
    session = requests.Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, Bounded())
    return session
