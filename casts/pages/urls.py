"""The pages about casts, at the site's root."""

from __future__ import annotations

from django.urls import path

from casts import paths  # noqa: F401 - registers the converters
from casts.pages.home import home
from casts.pages.progress import progress

urlpatterns = [
    path("home/", home, name="home"),
    path("casts/<any_uuid:cast_id>/", progress, name="cast-page"),
]
