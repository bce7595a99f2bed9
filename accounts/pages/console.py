"""The admin's site, whose login is everybody's: its own would ask for no second factor."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from accounts.pages.adapters import AccountAdapter
from core.admin import attention, dashboard


class Console(AdminSite):
    """The default site (spellplatform.apps.ConsoleConfig)."""

    site_header = site_title = "Spell Platform"

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        shown = super().each_context(request)
        return shown | {"attention": attention.count(request.user) if shown["has_permission"] else None}

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        shown = {"title": "Dashboard", "panels": dashboard.panels(request.user), "now": timezone.now()}
        return super().index(request, shown | (extra_context or {}))

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        wanted = request.GET.get("next", "")
        if not request.user.is_authenticated:
            return redirect_to_login(wanted or reverse("admin:index"))
        if not self.has_permission(request):
            raise PermissionDenied("This page is for operators.")
        return HttpResponseRedirect(wanted if AccountAdapter(request).is_safe_url(wanted) else reverse("admin:index"))

    def password_change(  # type: ignore[override]
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return HttpResponseRedirect(reverse("account_change_password"))
