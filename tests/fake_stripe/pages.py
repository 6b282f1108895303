"""What a customer sees at Stripe: the Checkout page and the portal. And the desk, where a developer plays the bank."""

from html import escape

from tests.fake_stripe import payments, subscriptions
from tests.fake_stripe.store import Object, Refused, Store

STYLE = "body{font:16px sans-serif;max-width:40rem;margin:3rem auto}form{display:inline}td{padding:.3rem}"


def page(title: str, body: str) -> bytes:
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title><style>{STYLE}</style>"
        f"<h1>{escape(title)}</h1>{body}<p><small>A fake Stripe. No money moves.</small>"
    ).encode()


def button(action: str, words: str, **fields: str) -> str:
    hidden = "".join(f'<input type=hidden name="{name}" value="{escape(value)}">' for name, value in fields.items())
    return f'<form method=post action="{action}">{hidden}<button>{escape(words)}</button></form> '


def money(amount: int, currency: str) -> str:
    return f"{amount / 100:,.2f} {currency.upper()}"


def checkout_page(session: Object, *, is_declined: bool = False) -> bytes:
    if session["status"] != "open":
        return page("This page is no longer available", f"<p>It is {session['status']}.")
    items = "".join(
        f"<tr><td>{escape(one['name'])}<td>{money(one['amount'], one['currency'])}" for one in session["_lines"]
    )
    sorry = "<p role=alert>Your card was declined." if is_declined else ""
    here = f"/checkout/{session['id']}"
    back = f'<a href="{escape(session["cancel_url"] or "/")}">Back</a>'
    trial = int(session["_subscription"].get("trial_period_days", 0))
    note = f"<p>{trial} days free" if trial else ""
    return page("Pay", f"{sorry}<table>{items}</table>{note}<p>{button(here, 'Pay')}{back}")


def portal_page(store: Store, session: Object) -> bytes:
    here = f"/portal/{session['id']}"
    rows = []
    for sub in store.all("subscription"):
        if sub["customer"] != session["customer"] or sub["status"] == "canceled":
            continue
        price = sub["items"]["data"][0]["price"]
        rows.append(f"<h2>{escape(store.objects[price['product']]['name'])}, {sub['status']}</h2><p>")
        words = "Renew" if sub["cancel_at_period_end"] else "Cancel at the end of the period"
        rows.append(button(here, words, sub=sub["id"], act="resume" if sub["cancel_at_period_end"] else "cancel"))
        for other in _prices(store, session, sub):
            name = f"{store.objects[other['product']]['name']}, a {other['recurring']['interval']}"
            rows.append(button(here, f"Change to {name}", sub=sub["id"], act="change", price=other["id"]))
    for words, act in (("Use a card that works", "good_card"), ("Use a card that is declined", "bad_card")):
        rows.append(button(here, words, act=act))
    back = f'<p><a href="{escape(session["return_url"])}">Back to the shop</a>'
    return page("Your subscription", "".join(rows) + back)


def _prices(store: Store, session: Object, sub: Object) -> list[Object]:
    current = sub["items"]["data"][0]["price"]["id"]
    flow = (session.get("flow") or {}).get("subscription_update_confirm")
    if flow:
        return [store.get(flow["items"][0]["price"], "price")]
    return [one for one in store.all("price") if one["recurring"] and one["active"] and one["id"] != current]


def portal_act(store: Store, session: Object, asked: Object) -> None:
    """Raises: Refused."""
    act = asked.get("act")
    if act in ("good_card", "bad_card"):
        store.objects[session["customer"]]["_card"] = payments.NO_CARD if act == "bad_card" else ""
        for sub in store.all("subscription"):
            if act == "good_card" and sub["customer"] == session["customer"] and sub["status"] == "past_due":
                subscriptions.retry(store, sub)
        return
    sub = store.get(asked.get("sub", ""), "subscription")
    if sub["customer"] != session["customer"]:
        raise Refused("No such subscription.", status=404)
    if act == "change":
        subscriptions.update(store, sub, price=asked["price"])
    else:
        subscriptions.update(store, sub, cancel_at_period_end=act == "cancel")


def desk_page(store: Store) -> bytes:
    """Everything paid, with the buttons of a bank and of time."""
    rows = ["<h2>Subscriptions</h2>"]
    for sub in store.all("subscription"):
        item = sub["items"]["data"][0]
        rows.append(f"<p>{sub['id']} {sub['status']} {escape(store.objects[item['price']['product']]['name'])} ")
        if sub["status"] != "canceled":
            rows.append(button("/desk", "End the period now", act="renew", id=sub["id"]))
            rows.append(button("/desk", "Cancel at once", act="end", id=sub["id"]))
    rows.append("<h2>Payments</h2>")
    for charge in store.all("charge"):
        left = charge["amount"] - charge["amount_refunded"]
        rows.append(f"<p>{charge['payment_intent']} {money(charge['amount'], charge['currency'])} ")
        rows += [button("/desk", "Refund", act="refund", id=charge["payment_intent"])] if left else []
        rows += [] if charge["disputed"] else [button("/desk", "Dispute", act="dispute", id=charge["payment_intent"])]
    for found in store.all("refund"):
        rows.append(f"<p>{found['id']} {found['status']} ")
        rows += [button("/desk", "Let it fail", act="fail_refund", id=found["id"])] * (found["status"] != "failed")
    for found in store.all("dispute"):
        rows.append(f"<p>{found['id']} {found['status']} ")
        if found["status"] == "needs_response":
            rows += [button("/desk", words, act=words, id=found["id"]) for words in ("won", "lost")]
    rows.append(f"<h2>Next payment</h2><p>{button('/desk', 'Let it fail', act='fail', id='')}")
    return page("The desk", "".join(rows))


def desk_act(store: Store, act: str, identity: str) -> None:
    """Raises: Refused."""
    if act == "refund":
        payments.refund(store, identity)
    elif act == "fail_refund":
        payments.fail_refund(store, identity)
    elif act == "dispute":
        payments.dispute(store, identity)
    elif act in ("won", "lost"):
        payments.close_dispute(store, identity, act)
    elif act == "fail":
        store.fails_next_payment = True
    elif act == "end":
        subscriptions.end(store, store.get(identity, "subscription"))
    elif act == "renew":
        sub = store.get(identity, "subscription")
        item = sub["items"]["data"][0]
        sub["billing_cycle_anchor"] = item["current_period_end"] = store.now()
        sub["trial_end"] = sub["trial_end"] and store.now()
        subscriptions.renew(store, sub)
