# ruff: noqa: DJ008 - tables that nobody looks at
"""The least that a Django view must do: verify and insert a webhook; take a POST with three inserts behind a key."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import uuid
from typing import Any

import environ
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.db import connection, models, transaction
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

database = dict(environ.Env.db_url_config(os.environ["DATABASE_URL"]))
database["OPTIONS"] = {"pool": {"min_size": 1, "max_size": 10, "timeout": 20}}
settings.configure(
    ROOT_URLCONF=__name__,
    SECRET_KEY="anchor",
    ALLOWED_HOSTS=["*"],
    DEBUG=False,
    USE_TZ=True,
    DATABASES={"default": database},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["rest_framework"],
    REST_FRAMEWORK={
        "UNAUTHENTICATED_USER": None,
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    },
)
application = get_asgi_application()
threaded = get_wsgi_application()

from rest_framework import authentication, exceptions, serializers  # noqa: E402 - needs the settings
from rest_framework.request import Request  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402

SECRET = os.environ["ANCHOR_SECRET"].encode()


class Key(models.Model):
    digest = models.CharField(max_length=64, unique=True)

    class Meta:
        app_label = "minimal"


class Delivery(models.Model):
    guid = models.CharField(max_length=64, unique=True)
    event = models.CharField(max_length=40)
    body = models.TextField()
    received_at = models.DateTimeField()

    class Meta:
        app_label = "minimal"


class Thing(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    input = models.JSONField()
    created_at = models.DateTimeField()

    class Meta:
        app_label = "minimal"


class Line(models.Model):
    thing = models.ForeignKey(Thing, on_delete=models.CASCADE)
    data = models.JSONField()

    class Meta:
        app_label = "minimal"


class Entry(models.Model):
    thing = models.ForeignKey(Thing, on_delete=models.CASCADE)
    cents = models.IntegerField()

    class Meta:
        app_label = "minimal"


@csrf_exempt
def webhook(request: HttpRequest) -> HttpResponse:
    signed = "sha256=" + hmac.digest(SECRET, request.body, "sha256").hex()
    if not hmac.compare_digest(signed, request.headers.get("X-Hub-Signature-256", "")):
        return HttpResponse(status=401)
    Delivery._default_manager.create(
        guid=request.headers["X-GitHub-Delivery"],
        event=request.headers["X-GitHub-Event"],
        body=request.body.decode(),
        received_at=timezone.now(),
    )
    return HttpResponse(status=202, headers={"Content-Length": "0"})


class ByKey(authentication.BaseAuthentication):
    def authenticate(self, request: Request) -> tuple[Key, None]:
        secret = request.headers.get("Authorization", "").removeprefix("Bearer ")
        key = Key._default_manager.filter(digest=hashlib.sha256(secret.encode()).hexdigest()).first()
        if key is None:
            raise exceptions.AuthenticationFailed
        return key, None


class ThingRequest(serializers.Serializer[Any]):
    spell_key = serializers.CharField(max_length=64)
    input = serializers.JSONField()


class Things(APIView):
    authentication_classes = [ByKey]

    def post(self, request: Request) -> Response:
        body = ThingRequest(data=request.data)
        body.is_valid(raise_exception=True)
        with transaction.atomic():
            thing = Thing._default_manager.create(input=body.validated_data["input"], created_at=timezone.now())
            Line._default_manager.create(thing=thing, data={"status": "queued"})
            Entry._default_manager.create(thing=thing, cents=5)
        return Response({"id": str(thing.pk), "status": "queued"}, status=201)


urlpatterns = [path("api/webhooks/github", webhook), path("api/v1/cast", Things.as_view())]


def prepare() -> None:
    """Make the tables and the key."""
    with connection.schema_editor() as editor:
        for model in (Key, Delivery, Thing, Line, Entry):
            editor.create_model(model)
    Key._default_manager.create(digest=hashlib.sha256(os.environ["ANCHOR_KEY"].encode()).hexdigest())


if __name__ == "__main__":
    prepare()
    print(json.dumps("ready"))
