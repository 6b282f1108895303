"""Pages: what is for sale, the way to the checkout and back, and the billing page."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest
from django.http.response import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST
from rest_framework.request import Request

from accounts.access import needs
from accounts.roles import Ability
from credits import plans
from credits.billing import client, mirror, offers, sales
from credits.models import PlanPrice, Purchase
from tenkaigen.errors import DomainError
from tenkaigen.htmx import HtmxRequest

PURCHASES_SHOWN = 20


@require_GET
def pricing(request: HtmxRequest) -> HttpResponse:
    """Plans by the month or the year, packs and passes; for everybody."""
    is_yearly = request.GET.get("pay") == PlanPrice.Interval.YEAR
    return render(
        request,
        "billing/pricing.html",
        {
            "interval": PlanPrice.Interval.YEAR if is_yearly else PlanPrice.Interval.MONTH,
            "plans": offers.plans(PlanPrice.Interval.YEAR if is_yearly else PlanPrice.Interval.MONTH),
            "packs": offers.packs(),
            "products": offers.passes(),
            "subscribed": sales.subscribed(request.team) if request.team else None,
            "is_on": client.is_on(),
        },
    )


@needs(Ability.BILLING)
@require_POST
def buy(request: HtmxRequest) -> HttpResponse:
    """On to Stripe: to the checkout, or for another plan of a team that has one to the portal."""
    asked = request.POST
    try:
        offer = offers.find(asked.get("kind", ""), asked.get("slug", ""), asked.get("interval", ""))
        if offer.kind == Purchase.Kind.PLAN and sales.subscribed(request.team):
            return redirect(sales.open_portal(team=request.team, return_url=_absolute(request), change_to=offer))
        _, url = sales.buy(
            team=request.team,
            user=request.user,
            offer=offer,
            thanks_url=thanks_url(request),
            back_url=request.build_absolute_uri(reverse("credits:plans")),
        )
    except DomainError as error:
        messages.error(request, str(error))
        return redirect("credits:plans")
    return redirect(url)


@needs(Ability.BILLING)
@require_GET
def billing(request: HtmxRequest) -> HttpResponse:
    subscription = sales.subscribed(request.team)
    return render(
        request,
        "billing/billing.html",
        {
            "plan": plans.plan_of(request.team.pk),
            "state": mirror.state_of(subscription),
            "invoices": mirror.invoices_of(request.team),
            "purchases": Purchase.objects.filter(team=request.team, state=Purchase.State.PAID)
            .exclude(kind=Purchase.Kind.PLAN)
            .order_by("-created_at", "-id")[:PURCHASES_SHOWN],
            "is_on": client.is_on(),
        },
    )


@needs(Ability.BILLING)
@require_POST
def portal(request: HtmxRequest) -> HttpResponse:
    try:
        return redirect(sales.open_portal(team=request.team, return_url=_absolute(request)))
    except DomainError as error:
        messages.error(request, str(error))
        return redirect("billing:billing")


@needs(Ability.BILLING)
@require_GET
def purchase(request: HtmxRequest, purchase_id: UUID) -> HttpResponse:
    """Where the checkout leads back to. It only thanks: the goods come when Stripe has told us."""
    found = get_object_or_404(Purchase, pk=purchase_id, team=request.team)
    return render(request, "billing/purchase.html", {"purchase": found})


@needs(Ability.BILLING)
@require_GET
def purchase_state(request: HtmxRequest, purchase_id: UUID) -> HttpResponse:
    """The part that asks again until the purchase is delivered."""
    found = get_object_or_404(Purchase, pk=purchase_id, team=request.team)
    return render(request, "billing/_purchase_update.html", {"purchase": found})


def thanks_url(request: HttpRequest | Request) -> str:
    """Where the checkout leads back to, with `{purchase}` for the id of what is only about to be made."""
    nobody = UUID(int=0)
    return request.build_absolute_uri(reverse("billing:purchase", args=[nobody])).replace(str(nobody), "{purchase}")


def _absolute(request: HtmxRequest) -> str:
    return request.build_absolute_uri(reverse("billing:billing"))
