"""The fake over HTTP, and its webhooks."""

import hashlib
import hmac
import json
import queue
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

from tests.fake_stripe import api, checkout, invoices, pages, payments, subscriptions
from tests.fake_stripe.store import Object, Refused, Store, public

TRIES_MAX = 30
TICK_SECONDS = 5


def signature(body: bytes, secret: str, at: int | None = None) -> str:
    """What stands in the header `Stripe-Signature`."""
    moment = int(time.time()) if at is None else at
    signed = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={moment},v1={signed}"


class Handler(BaseHTTPRequestHandler):
    """One request; `fake` is the server it came to."""

    fake: ClassVar["FakeStripe"]

    protocol_version = "HTTP/1.1"
    # Head and body in one packet: two would wait for each other's acknowledgement, 40 ms a call.
    wbufsize = 65_536
    disable_nagle_algorithm = True

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    def _answer(self, method: str) -> None:
        where = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        asked = api.nested(parse_qsl(where.query, keep_blank_values=True) + parse_qsl(body))
        self.fake.calls.append((method, where.path))
        with self.fake.store.lock:
            try:
                self._reply(method, where.path, asked)
            except Refused as error:
                self._refuse(error, is_page=not where.path.startswith("/v1/"))
            finally:
                self.fake.store.save()
        self.fake.post()

    def _reply(self, method: str, path: str, asked: Object) -> None:
        if self.fake.down:
            raise Refused("Stripe is down.", status=503, kind="api_error")
        if path.startswith("/v1/"):
            given = api.answer(self.fake.store, method, path[4:].strip("/"), asked, self.headers, self.fake.url)
            self._send(200, json.dumps(given).encode(), "application/json")
        elif path.startswith("/checkout/"):
            self._checkout(method, self.fake.store.get(path.split("/")[2], "checkout.session"))
        elif path.startswith("/portal/"):
            session = self.fake.store.get(path.split("/")[2], "billing_portal.session")
            if method == "POST":
                pages.portal_act(self.fake.store, session, asked)
                self._go(session["return_url"] if session.get("flow") else path)
            else:
                self._send(200, pages.portal_page(self.fake.store, session))
        elif path.startswith("/invoice/"):
            found = self.fake.store.get(path.split("/")[2], "invoice")
            words = pages.money(found["total"], found["currency"])
            self._send(200, pages.page(f"Invoice {found['number']}", f"<p>{words}, {found['status']}"))
        elif method == "POST":
            pages.desk_act(self.fake.store, asked.get("act", ""), asked.get("id", ""))
            self._go("/")
        else:
            self._send(200, pages.desk_page(self.fake.store))

    def _checkout(self, method: str, session: Object) -> None:
        if method == "POST" and checkout.pay(self.fake.store, session):
            self._go(session["success_url"].replace("{CHECKOUT_SESSION_ID}", session["id"]))
        else:
            self._send(200, pages.checkout_page(session, is_declined=method == "POST"))

    def _refuse(self, error: Refused, *, is_page: bool) -> None:
        facts = {"type": error.kind, "message": str(error), "code": error.code or None}
        if is_page:
            self._send(error.status, pages.page("That did not work", f"<p>{error}"))
        else:
            self._send(error.status, json.dumps({"error": facts}).encode(), "application/json")

    def _go(self, url: str) -> None:
        self.send_response(303)
        self.send_header("Location", url)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, status: int, body: bytes, kind: str = "text/html; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class FakeStripe:
    """The server. With `delivers` it posts events to the endpoints that were made through its interface."""

    def __init__(
        self, *, port: int = 0, file: Path | None = None, now: int | None = None, delivers: bool = False
    ) -> None:
        self.store = Store(file, now=now)
        self.calls: list[tuple[str, str]] = []
        self.down = False  # answers 503 to everything
        self._server = ThreadingHTTPServer(("127.0.0.1", port), type("OurHandler", (Handler,), {"fake": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.store.objects["acct_fake"]["_origin"] = self.url
        self._mail: queue.Queue[tuple[Object, int]] | None = queue.Queue() if delivers else None
        self._closed = False
        self._posted = len(self.store.events)

    def serve(self) -> None:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        if self._mail is not None:
            threading.Thread(target=self._deliver, daemon=True).start()
            threading.Thread(target=self._tick, daemon=True).start()

    def is_posting(self) -> bool:
        """Whether an event is still on its way."""
        return self._mail is not None and bool(self._mail.unfinished_tasks)

    def close(self) -> None:
        self._closed = True
        self._server.shutdown()
        self._server.server_close()

    # What tests do without a browser ---------------------------------------------------------------------------------
    def go_to(self, moment: int) -> None:
        with self.store.lock:
            subscriptions.go_to(self.store, moment)

    def pay(self, session_id: str) -> bool:
        with self.store.lock:
            return checkout.pay(self.store, self.store.get(session_id, "checkout.session"))

    def intent_of(self, invoice_id: str) -> str:
        (paid,) = invoices.payments_of(self.store, self.store.get(invoice_id, "invoice"))
        return str(paid["payment"]["payment_intent"])

    def refund(self, intent_id: str, amount: int | None = None) -> Object:
        return payments.refund(self.store, intent_id, amount)

    def fail_refund(self, refund_id: str) -> Object:
        return payments.fail_refund(self.store, refund_id)

    def dispute(self, intent_id: str, amount: int | None = None) -> Object:
        return payments.dispute(self.store, intent_id, amount)

    def close_dispute(self, dispute_id: str, status: str) -> Object:
        return payments.close_dispute(self.store, dispute_id, status)

    # Webhooks --------------------------------------------------------------------------------------------------------
    def post(self) -> None:
        """Put what happened since the last time into the mail."""
        if self._mail is None:
            return
        with self.store.lock:
            fresh, self._posted = self.store.events[self._posted :], len(self.store.events)
        for event in fresh:
            self._mail.put((event, 0))

    def _deliver(self) -> None:
        assert self._mail is not None
        while not self._closed:
            event, tries = self._mail.get()
            with self.store.lock:
                endpoints = [one for one in self.store.all("webhook_endpoint") if not one.get("deleted")]
            wanted = [one for one in endpoints if {event["type"], "*"} & set(one["enabled_events"])]
            taken = [deliver(event, one["url"], one["secret"]) for one in wanted]
            if not all(taken) and tries < TRIES_MAX:
                timer = threading.Timer(min(30, 2**tries), self._mail.put, [(event, tries + 1)])
                timer.daemon = True
                timer.start()
            self._mail.task_done()

    def _tick(self) -> None:
        while not self._closed:
            time.sleep(TICK_SECONDS)
            with self.store.lock:
                subscriptions.go_to(self.store, self.store.now())
                self.store.save()
            self.post()


def deliver(event: Object, url: str, secret: str) -> bool:
    """Post one event as Stripe does. Whether it was taken."""
    body = json.dumps(public(event)).encode()
    headers = {"Content-Type": "application/json", "Stripe-Signature": signature(body, secret)}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=20) as answer:
            return int(answer.status) < 300
    except OSError:
        return False


@contextmanager
def running(**options: Any) -> Iterator[FakeStripe]:
    """The fake over HTTP on a free port, without webhooks of its own unless `delivers` is set."""
    fake = FakeStripe(**options)
    fake.serve()
    try:
        yield fake
    finally:
        fake.close()
