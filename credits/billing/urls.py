"""Pages about billing."""

from django.urls import path

from credits.billing import views

app_name = "billing"
urlpatterns = [
    path("billing", views.billing, name="billing"),
    path("billing/buy", views.buy, name="buy"),
    path("billing/portal", views.portal, name="portal"),
    path("billing/purchases/<uuid:purchase_id>", views.purchase, name="purchase"),
    path("billing/purchases/<uuid:purchase_id>/state", views.purchase_state, name="purchase_state"),
]
