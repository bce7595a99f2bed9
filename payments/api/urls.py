"""Below /api/v1/billing."""

from django.urls import path

from core.db.threads import offloaded
from payments.api import views

app_name = "billing"
urlpatterns = [
    path("", offloaded(views.Billing.as_view()), name="overview"),
    path("/setup", offloaded(views.Setup.as_view()), name="setup"),
    path("/portal", offloaded(views.Portal.as_view()), name="portal"),
    path("/topups", offloaded(views.TopUps.as_view()), name="topups"),
    path("/topups/<str:topup_id>", offloaded(views.OneTopUp.as_view()), name="topup"),
    path("/topups/<str:topup_id>/cancel", offloaded(views.CancelTopUp.as_view()), name="topup-cancel"),
    path("/invoices", offloaded(views.Invoices.as_view()), name="invoices"),
]
