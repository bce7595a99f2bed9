"""The pages on which operators connect the platform with GitHub. Their views are imported when they are asked for."""

from django.urls import path

from accounts.pages.urls import later

VIEWS = "github_integration.connecting.views."

urlpatterns = [
    path("connect/", later(VIEWS + "connect"), name="github-connect"),
    path("connected/", later(VIEWS + "connected"), name="github-connected"),
    path("installed/", later("github_integration.connecting.installed.installed"), name="github-installed"),
]
