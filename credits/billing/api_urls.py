"""The REST interface about billing."""

from django.urls import path

from credits.billing import api

app_name = "billing_api"
urlpatterns = [
    path("billing", api.BillingView.as_view(), name="billing"),
    path("billing/checkout", api.CheckoutView.as_view(), name="checkout"),
    path("billing/portal", api.PortalView.as_view(), name="portal"),
    path("billing/purchases/<str:purchase_id>", api.PurchaseView.as_view(), name="purchase"),
]
