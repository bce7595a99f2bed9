"""Every path of the service."""

from django.contrib import admin
from django.urls import include, path, re_path

from casts.dashboard.spell_page import spell_times
from core.admin import attention
from core.api import explained, problems
from core.db.threads import offloaded
from core.telemetry.views import readyz
from github_integration.importing.page import page as importing
from payments.views import stripe
from spellplatform.guides import guide
from webhooks.views import github

urlpatterns = [
    # First what is asked for most: each pattern before it is tried for every request.
    path("api/v1/", include("casts.api.urls")),
    path("", include("accounts.pages.urls")),
    path("", include("casts.pages.urls")),
    path("admin/attention/", admin.site.admin_view(attention.page), name="attention"),
    path("admin/spell-times/<int:spell_id>/", admin.site.admin_view(spell_times), name="spell-times"),
    path("admin/import/", admin.site.admin_view(importing), name="import-spells"),
    path("admin/", admin.site.urls),
    path("readyz", readyz, name="readyz"),
    path("docs/", guide, name="guides"),
    path("docs/<path:name>", guide, name="guide"),
    path("problems/", explained.kinds, name="problems"),
    path("problems/<slug:slug>", explained.kind, name="problem"),
    path("github/", include("github_integration.connecting.urls")),
    path("api/v1/billing", include("payments.api.urls")),
    path("account/money/", include("payments.pages.urls")),
    path("api/webhooks/github", offloaded(github, apart="webhooks"), name="github-webhook"),
    path("api/webhooks/stripe", offloaded(stripe, apart="webhooks"), name="stripe-webhook"),
    re_path(r"^api/", problems.not_found),
]

handler400 = "spellplatform.errors.bad_request"
handler403 = "spellplatform.errors.forbidden"
handler404 = "spellplatform.errors.missing"
handler500 = "spellplatform.errors.failure"
