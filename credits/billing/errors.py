"""What billing refuses."""

from tenkaigen.errors import DomainError


class BillingOff(DomainError):
    """This server has no key for Stripe."""

    code = "billing_off"
    http_status = 409


class NotForSale(DomainError):
    """There is no such thing, or it has no price."""

    code = "not_for_sale"
    http_status = 404


class AlreadySubscribed(DomainError):
    """A team has one subscription; it changes in the portal."""

    code = "already_subscribed"


class CheckoutUnderWay(DomainError):
    """A team pays for one plan at a time."""

    code = "checkout_under_way"


class NothingToManage(DomainError):
    """The portal shows what a customer has at Stripe, and this team is none."""

    code = "no_customer"


class StripeUnavailable(DomainError):
    """Stripe does not answer, or refuses what we ask. Asking again later is right."""

    code = "stripe_unavailable"
    http_status = 503
    retry_after_seconds = 10


class Gone(DomainError):
    """Stripe does not know the object (any more)."""

    code = "stripe_gone"


class UnknownPrice(DomainError):
    """A paid price that no row maps to a plan. Staff add the row; the inbox tries again."""

    code = "unknown_price"
