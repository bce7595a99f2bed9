"""Below /account/money/."""

from django.urls import path

from payments.pages import views

urlpatterns = [
    path("", views.accounts, name="money-accounts"),
    path("<int:account_id>/", views.money, name="money"),
    path("<int:account_id>/to-stripe/<str:kind>/<uuid:pk>/", views.to_stripe, name="money-to-stripe"),
]
