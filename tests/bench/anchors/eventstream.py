"""django-eventstream, as its documentation sets it up for one process."""

from __future__ import annotations

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

settings.configure(
    ROOT_URLCONF=__name__,
    SECRET_KEY="anchor",
    ALLOWED_HOSTS=["*"],
    DEBUG=False,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django_eventstream"],
)


def publish(request: HttpRequest, topic: str) -> HttpResponse:
    from django_eventstream import send_event  # type: ignore[import-not-found]

    send_event(topic, "message", "news", json_encode=False)
    return HttpResponse(headers={"Content-Length": "0"})


application = get_asgi_application()
import django_eventstream  # noqa: E402 - needs the settings

urlpatterns = [
    path("events/<channel>", include(django_eventstream.urls)),
    path("publish/<topic>", publish),
]
