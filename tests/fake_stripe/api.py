"""The REST interface of the fake: form fields in, objects out, with Stripe's errors."""

import re
from collections.abc import Callable
from typing import Any

from tests.fake_stripe import checkout, invoices, payments, subscriptions
from tests.fake_stripe.store import API_VERSION, Object, Refused, Store, listed, public

KEY = re.compile(r"Bearer (sk|rk)_test_[A-Za-z0-9]{24,}")
KINDS = {
    "customers": "customer", "products": "product", "prices": "price", "subscriptions": "subscription",
    "invoices": "invoice", "invoice_payments": "invoice_payment", "payment_intents": "payment_intent",
    "charges": "charge", "refunds": "refund", "disputes": "dispute", "checkout/sessions": "checkout.session",
    "billing_portal/sessions": "billing_portal.session", "events": "event", "accounts": "account",
    "billing_portal/configurations": "billing_portal.configuration", "webhook_endpoints": "webhook_endpoint",
    "subscription_items": "subscription_item", "subscription_schedules": "subscription_schedule",
}  # fmt: skip
PAGE = 10
PAGE_MAX = 100


def nested(pairs: list[tuple[str, str]]) -> Object:
    """`a[b][0][c]=1` as nested dictionaries; dictionaries whose keys count from 0 become lists."""
    tree: Object = {}
    for name, value in pairs:
        first, *rest = re.findall(r"[^\[\]]+|(?<=\[)(?=\])", name)
        node, key = tree, first
        for part in rest:
            node = node.setdefault(key, {})
            key = part or str(len(node))
        node[key] = value
    return _with_lists(tree)


def _with_lists(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    values = {key: _with_lists(value) for key, value in node.items()}
    if values and all(key.isdigit() for key in values):
        return [values[key] for key in sorted(values, key=int)]
    return values


def answer(store: Store, method: str, path: str, asked: Object, headers: Any, origin: str) -> Object:
    """One call. Raises: Refused."""
    if not KEY.fullmatch(headers.get("Authorization", "")):
        raise Refused("Invalid API Key provided", status=401, kind="authentication_error")
    version = headers.get("Stripe-Version", API_VERSION)
    if version != API_VERSION:
        raise Refused(f"This fake speaks {API_VERSION}, not {version}.")
    key = headers.get("Idempotency-Key")
    if key and method == "POST" and key in store.sent:
        before, given = store.sent[key]
        if before != [path, asked]:
            raise Refused("Keys for idempotent requests can only be used with the same parameters.", code="idempotency")
        return dict(given)
    given = _expanded(store, _route(store, method, path, asked, origin), asked.get("expand", []))
    if key and method == "POST":
        store.sent[key] = [[path, asked], given]
    return given


def _route(store: Store, method: str, path: str, asked: Object, origin: str) -> Object:
    if path == "account":
        return store.objects["acct_fake"]
    resource = next((name for name in sorted(KINDS, key=len, reverse=True) if _is_under(path, name)), None)
    if resource is None:
        raise Refused(f"Unrecognized request URL ({method}: /v1/{path}).", status=404)
    kind, rest = KINDS[resource], path[len(resource) :].strip("/").split("/")
    identity, *act = rest
    if not identity:
        return _create(store, kind, asked, origin) if method == "POST" else _list(store, kind, asked, resource)
    found = store.get(identity, kind)
    if act:
        return _act(store, found, act[0], asked)
    if method == "DELETE":
        return _delete(store, found)
    return _change(store, found, asked) if method == "POST" else found


def _is_under(path: str, resource: str) -> bool:
    return path == resource or path.startswith(resource + "/")


def _create(store: Store, kind: str, asked: Object, origin: str) -> Object:
    makers: dict[str, Callable[[], Object]] = {
        "customer": lambda: _customer(store, asked),
        "product": lambda: store.new("product", active=True, description=None, **_known(asked, "name", "metadata")),
        "price": lambda: checkout.new_price(store, asked),
        "checkout.session": lambda: checkout.open_session(store, asked, origin),
        "refund": lambda: payments.refund(store, asked["payment_intent"], _number(asked.get("amount"))),
        "subscription": lambda: subscriptions.start(
            store, customer=asked["customer"], price=asked["items"][0]["price"], metadata=asked.get("metadata")
        ),
        "billing_portal.configuration": lambda: store.new(
            "billing_portal.configuration", active=True, is_default=False, **_known(asked, "features", "metadata")
        ),
        "billing_portal.session": lambda: _portal(store, asked, origin),
        "webhook_endpoint": lambda: store.new(
            "webhook_endpoint", status="enabled", secret=f"whsec_{store._salt}{len(store.objects)}", application=None,
            **_known(asked, "url", "enabled_events", "api_version", "metadata"),
        ),
    }  # fmt: skip
    if kind not in makers:
        raise Refused(f"This fake makes no {kind}.", status=404)
    made = makers[kind]()
    if kind in ("product", "price"):
        store.emit(f"{kind}.created", made)
    return made


def _customer(store: Store, asked: Object) -> Object:
    return store.new(
        "customer", balance=0, currency=None, default_source=None, delinquent=False, description=None, discount=None,
        email=asked.get("email"), invoice_settings={"default_payment_method": None}, name=asked.get("name"),
        metadata=asked.get("metadata", {}),
    )  # fmt: skip


def _portal(store: Store, asked: Object, origin: str) -> Object:
    store.get(asked["configuration"], "billing_portal.configuration")
    customer = store.get(asked["customer"], "customer")["id"]
    made = store.new("billing_portal.session", customer=customer, **_known(asked, "return_url", "configuration"))
    made |= {"flow": asked.get("flow_data"), "url": f"{origin}/portal/{made['id']}"}
    store.objects[made["id"]] = made
    return made


def _known(asked: Object, *names: str) -> Object:
    return {name: asked[name] for name in names if name in asked}


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)


def _change(store: Store, found: Object, asked: Object) -> Object:
    if found["object"] == "subscription":
        if found["schedule"] and "cancel_at_period_end" in asked:
            raise Refused("The subscription is managed by a schedule: its cancelation cannot be changed directly.")
        items = asked.get("items") or [{}]
        wanted = _known(asked, "cancel_at_period_end", "metadata") | _known(items[0], "price")
        return subscriptions.update(store, found, **wanted)
    for name, value in asked.items():
        found[name] = found.get(name, {}) | value if isinstance(value, dict) else value
    return found


def _delete(store: Store, found: Object) -> Object:
    if found["object"] == "subscription":
        return subscriptions.end(store, found)
    found["deleted"] = True
    if found["object"] == "customer":
        store.emit("customer.deleted", found)
    return {"id": found["id"], "object": found["object"], "deleted": True}


def _act(store: Store, found: Object, act: str, asked: Object) -> Object:
    if (found["object"], act) == ("invoice", "lines"):
        return _page(found["lines"]["data"], asked, f"/v1/invoices/{found['id']}/lines")
    if (found["object"], act) == ("product", "features"):
        return listed([], f"/v1/products/{found['id']}/features")
    if (found["object"], act) == ("invoice", "pay"):
        invoices.attempt(store, found)
        return found
    if (found["object"], act) == ("subscription_schedule", "release"):
        return subscriptions.release(store, found)
    if (found["object"], act) == ("checkout.session", "expire"):
        return checkout.expire(store, found)
    raise Refused(f"Unrecognized request URL (…/{act}).", status=404)


def _list(store: Store, kind: str, asked: Object, resource: str) -> Object:
    if "" in asked.values():
        raise Refused("You passed an empty string. We assume empty values are an attempt to unset a parameter.")
    found = [one for one in store.all(kind) if not one.get("deleted") and _fits(one, asked)]
    return _page(found, asked, f"/v1/{resource}")


def _fits(one: Object, asked: Object) -> bool:
    if kind := asked.get("payment"):  # of an invoice payment
        return bool(one["payment"]["payment_intent"] == kind.get("payment_intent"))
    if one["created"] < int((asked.get("created") or {}).get("gte", 0)):
        return False
    if "subscription" in asked and one["parent"]["subscription_details"]["subscription"] != asked["subscription"]:
        return False
    if asked.get("status", "all") != "all" and one["status"] != asked["status"]:
        return False
    if "status" not in asked and one["object"] == "subscription" and one["status"] == "canceled":
        return False
    return all(
        one.get(name) == asked[name] for name in ("customer", "invoice", "payment_intent", "charge") if name in asked
    )


def _page(found: list[Object], asked: Object, url: str) -> Object:
    limit = min(int(asked.get("limit", PAGE)), PAGE_MAX)
    places = [place for place, one in enumerate(found) if one["id"] == asked.get("starting_after")]
    begin = places[0] + 1 if places else 0
    return listed(found[begin : begin + limit], url, has_more=len(found) > begin + limit)


def _expanded(store: Store, found: Object, wanted: list[str]) -> Object:
    shown: Object = public(found)
    for path in wanted:
        for one in shown["data"] if path.startswith("data.") else [shown]:
            _expand(store, one, path.removeprefix("data."))
    return shown


def _expand(store: Store, one: Object, name: str) -> None:
    if one["object"] == "invoice" and name == "payments":
        of = public(invoices.payments_of(store, one))
        one["payments"] = listed(of, f"/v1/invoice_payments?invoice={one['id']}")
    elif isinstance(one.get(name), str) and one[name] in store.objects:
        one[name] = public(store.objects[one[name]])
