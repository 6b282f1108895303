"""How billing reads in the REST interface."""

from rest_framework import serializers

from credits.models import PlanPrice, Purchase


class BillingSerializer(serializers.Serializer):
    plan = serializers.CharField(help_text="Its slug.")
    status = serializers.CharField(allow_null=True, help_text="As Stripe calls it; null without a subscription.")
    interval = serializers.CharField(allow_null=True)
    next_invoice_at = serializers.DateTimeField(allow_null=True)
    ends_at = serializers.DateTimeField(allow_null=True)


class CheckoutRequestSerializer(serializers.Serializer):
    kind = serializers.ChoiceField(choices=Purchase.Kind.choices)
    slug = serializers.CharField(max_length=40)
    interval = serializers.ChoiceField(choices=PlanPrice.Interval.choices, required=False, help_text="Of a plan.")


class PurchaseSerializer(serializers.ModelSerializer):
    class Meta:
        model = Purchase
        fields = ("id", "kind", "slug", "name", "interval", "price_cents", "currency", "state", "created_at", "paid_at")


class CheckoutSerializer(serializers.Serializer):
    purchase = PurchaseSerializer()
    url = serializers.URLField(help_text="Where a person pays.")


class AddressSerializer(serializers.Serializer):
    url = serializers.URLField(help_text="Where a person goes on.")
