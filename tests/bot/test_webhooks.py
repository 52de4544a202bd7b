"""Outgoing webhooks: signed, repeated with one id, given up in the end, and never aimed at this machine."""

import base64
import hashlib
import hmac
import ipaddress
import json
import ssl
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from bot import db, events, outside, rulebook, scheduler, webhook_deliveries, webhooks
from bot.accounts import Account
from bot.db import Session
from bot.erasure import forget
from bot.errors import Invalid, Refused
from bot.outside import Posted
from bot.runtime import Runtime
from bot.tables.accounts import accounts as accounts_table
from bot.tables.operators import audit
from bot.tables.operators import webhook_deliveries as table
from tests import factories

KEY = factories.SECRET_KEY


class Receiver:
    """A real HTTP server; ``answers`` with a status, the last one for ever."""

    def __init__(self) -> None:
        self.answers = [200]
        self.got: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
                status = (
                    receiver.answers.pop(0) if len(receiver.answers) > 1 else receiver.answers[0]
                )
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", receiver.url + "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_args: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?a=1"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture(scope="module")
def _server() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def receiver(_server: Receiver) -> Receiver:
    _server.answers, _server.got = [200], []
    return _server


@pytest.fixture
def brand(rt: Runtime, account: Account) -> int:
    """An account that lives on the sandbox: its webhooks may lead to this machine."""
    with db.writing(rt.engine) as session:
        session.execute(sa.update(accounts_table).values(sandbox_url="http://127.0.0.1:9"))
    return account.id


def made(rt: Runtime, account_id: int, url: str, *kinds: str, **values: Any) -> tuple[int, str]:
    with db.writing(rt.engine) as session:
        return webhooks.create(
            session,
            account_id,
            url,
            kinds or ["message"],
            rt.clock(),
            by="Bo",
            secret_key=KEY,
            **values,
        )


def happens(rt: Runtime, account_id: int, kind: str, follower: int | None = None) -> int:
    with db.writing(rt.engine) as session:
        who = follower or factories.make_follower(session, account_id, now=rt.clock())
        events.record(session, account_id, who, kind, rt.clock(), key="text")
    return who


def later(rt: Runtime, **span: float) -> None:
    """Time passes, and the job runs."""
    rt.clock.frozen_at += timedelta(**span)  # type: ignore[attr-defined]
    scheduler.tick(rt, "webhooks", rt.clock())


def told(rt: Runtime, account_id: int, webhook_id: int) -> list[webhooks.Delivery]:
    with db.reading(rt.engine) as session:
        return webhooks.deliveries_of(session, account_id, webhook_id)


def one(rt: Runtime, account_id: int, webhook_id: int) -> webhooks.Webhook:
    with db.reading(rt.engine) as session:
        found = webhooks.get(session, account_id, webhook_id)
    assert found is not None
    return found


def verified(secret: str, headers: dict[str, str], body: bytes) -> dict[str, Any]:
    """What docs/api.md tells receivers to do."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mine = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert hmac.compare_digest(f"v1,{mine}", headers["webhook-signature"])
    found: dict[str, Any] = json.loads(body)
    return found


def test_an_event_is_told_signed_after_a_few_seconds(rt: Runtime, brand: int, receiver: Receiver):
    webhook_id, secret = made(rt, brand, receiver.url, "message")
    who = happens(rt, brand, "message")
    happens(rt, brand, "scan", who)
    later(rt, seconds=1)
    assert receiver.got == []
    later(rt, seconds=5)
    ((headers, body),) = receiver.got
    message = verified(secret, headers, body)
    assert message["type"] == "message" and message["account"] == "muyan"
    assert message["data"]["follower"] == who and "open_id" not in message["data"]
    assert message["data"]["key"] == "text"
    (delivery,) = told(rt, brand, webhook_id)
    assert (delivery.status, delivery.attempts, delivery.answer) == ("sent", 1, 200)


def test_what_happened_before_or_in_another_brand_is_not_told(
    rt: Runtime, brand: int, receiver: Receiver
):
    with db.writing(rt.engine) as session:
        other = factories.make_account(session, "other", now=rt.clock())
    happens(rt, brand, "message")
    made(rt, brand, receiver.url)
    with db.writing(rt.engine) as session:
        stranger = factories.make_follower(session, other, 2, now=rt.clock())
    happens(rt, other, "message", stranger)
    later(rt, seconds=10)
    assert receiver.got == []


def test_the_open_id_is_told_only_where_it_was_allowed_and_never_after_erasure(
    rt: Runtime, brand: int, receiver: Receiver
):
    made(rt, brand, receiver.url, "message", "follower.erased", open_id=True)
    receiver.answers = [500, 200]
    who = happens(rt, brand, "message")
    later(rt, seconds=6)
    assert json.loads(receiver.got[0][1])["data"]["open_id"] == factories.open_id(1)
    with db.writing(rt.engine) as session:
        forget(session, brand, who, KEY, rt.clock())
    later(rt, seconds=60)
    bodies = [json.loads(body) for _, body in receiver.got[1:]]
    assert {body["type"] for body in bodies} == {"message", "follower.erased"}
    assert all("open_id" not in body["data"] for body in bodies)
    with db.reading(rt.engine) as session:
        stored = str(session.execute(sa.select(table.c.payload)).all())
    assert factories.open_id(1) not in stored


def test_a_failed_delivery_is_repeated_with_the_same_id_and_given_up_after_a_day(
    rt: Runtime, brand: int, receiver: Receiver
):
    receiver.answers = [500]
    webhook_id, _ = made(rt, brand, receiver.url)
    happens(rt, brand, "message")
    later(rt, seconds=6)
    waits = []
    for _ in range(40):
        (delivery,) = told(rt, brand, webhook_id)
        if delivery.status != "waiting":
            break
        assert delivery.next_try_at is not None
        wait = delivery.next_try_at - rt.clock()
        waits.append(wait)
        later(rt, seconds=wait.total_seconds() - 1)
        assert told(rt, brand, webhook_id)[0].attempts == delivery.attempts
        later(rt, seconds=1)
    assert waits[0] == timedelta(seconds=30) and waits[-1] <= timedelta(hours=6)
    assert waits == sorted(waits) and sum(waits, timedelta()) <= timedelta(hours=24)
    assert (delivery.status, delivery.error) == ("failed", "answered 500")
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    assert len(receiver.got) == delivery.attempts
    assert one(rt, brand, webhook_id).active


def test_a_retry_by_hand_is_one_more_try(rt: Runtime, brand: int, receiver: Receiver):
    webhook_id, _ = made(rt, brand, receiver.url)
    happens(rt, brand, "message")
    later(rt, seconds=6)
    (delivery,) = told(rt, brand, webhook_id)
    with db.writing(rt.engine) as session:
        webhooks.retry(session, brand, delivery.id, rt.clock())
        with pytest.raises(Refused):
            webhooks.retry(session, brand + 1, delivery.id, rt.clock())
    later(rt, seconds=1)
    assert [headers["webhook-id"] for headers, _ in receiver.got] == [f"msg_{delivery.id}"] * 2


def test_a_redirect_is_a_failure_and_is_not_followed(rt: Runtime, brand: int, receiver: Receiver):
    receiver.answers = [302]
    webhook_id, _ = made(rt, brand, receiver.url)
    happens(rt, brand, "message")
    later(rt, seconds=6)
    assert len(receiver.got) == 1
    assert told(rt, brand, webhook_id)[0].error == "answered 302"


def test_an_endpoint_that_is_gone_is_switched_off_at_once_and_says_so(
    rt: Runtime, brand: int, receiver: Receiver
):
    receiver.answers = [410]
    webhook_id, _ = made(rt, brand, receiver.url)
    happens(rt, brand, "message")
    later(rt, seconds=6)
    webhook = one(rt, brand, webhook_id)
    assert not webhook.active and "410" in (webhook.off or "")
    with db.reading(rt.engine) as session:
        assert session.execute(sa.select(audit.c.action)).scalars().all() == ["webhook.off"]


def test_an_endpoint_that_accepts_nothing_for_three_days_is_switched_off(
    rt: Runtime, brand: int, receiver: Receiver
):
    receiver.answers = [503]
    webhook_id, _ = made(rt, brand, receiver.url)
    who = happens(rt, brand, "message")
    later(rt, seconds=6)
    for day in range(5):
        active = one(rt, brand, webhook_id).active
        assert active or day >= 3
        if not active:
            break
        happens(rt, brand, "message", who)
        for _ in range(13):
            later(rt, hours=2)
    assert "3 days" in (one(rt, brand, webhook_id).off or "")
    assert {delivery.status for delivery in told(rt, brand, webhook_id)} == {"failed"}
    with db.writing(rt.engine) as session:
        found = one(rt, brand, webhook_id)
        webhooks.change(
            session, brand, webhook_id, url=found.url, kinds=found.kinds,
            open_id=False, active=True, now=rt.clock(),
        )  # fmt: skip
    again = one(rt, brand, webhook_id)
    assert again.active and again.off is None


def test_one_dead_receiver_keeps_nobody_from_the_rest(rt: Runtime, brand: int, receiver: Receiver):
    dead, _ = made(rt, brand, "http://127.0.0.1:9/")
    who = happens(rt, brand, "message")
    for _ in range(20):
        happens(rt, brand, "message", who)
    later(rt, seconds=6)
    alive, _ = made(rt, brand, receiver.url)
    happens(rt, brand, "message", who)
    later(rt, seconds=6)
    assert len(receiver.got) == 1
    assert (
        sum(delivery.attempts for delivery in told(rt, brand, dead))
        <= 2 * webhook_deliveries.AT_ONCE
    )
    assert told(rt, brand, dead)[0].answer is None
    assert one(rt, brand, alive).active


def test_publishing_is_told(rt: Runtime, brand: int, receiver: Receiver):
    made(rt, brand, receiver.url, "rulebook.published")
    with db.writing(rt.engine) as session:
        rulebook.publish(session, brand, {"rules": []}, by="Ann", note="first", now=rt.clock())
    later(rt, seconds=0)
    ((_, body),) = receiver.got
    assert json.loads(body)["data"]["number"] == 1


def test_a_rotated_secret_signs_from_then_on(rt: Runtime, brand: int, receiver: Receiver):
    webhook_id, old = made(rt, brand, receiver.url)
    with db.writing(rt.engine) as session:
        new = webhooks.rotate(session, brand, webhook_id, KEY)
        webhooks.ping(session, brand, webhook_id, rt.clock())
        stored = session.execute(sa.select(webhooks.webhooks.c.secret)).scalar_one()
    later(rt, seconds=0)
    ((headers, body),) = receiver.got
    assert verified(new, headers, body)["type"] == "webhook.ping"
    assert old != new and new not in stored


def certificate(folder: Path) -> str:
    """A self-signed certificate with its key, as one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    begins = factories.at("2020-01-01 00:00")
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1)
        .public_key(key.public_key())
        .not_valid_before(begins).not_valid_after(begins + timedelta(days=36500))
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    plain = serialization.NoEncryption()
    private = key.private_bytes(Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path = folder / "server.pem"
    path.write_bytes(private + made.public_bytes(Encoding.PEM))
    return str(path)


def test_a_certificate_nobody_vouches_for_is_refused(tmp_path: Path):
    listening = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(tmp_path))
    listening.socket = context.wrap_socket(listening.socket, server_side=True)
    listening.handle_error = lambda *_args: None  # type: ignore[method-assign]
    thread = threading.Thread(target=listening.handle_request, daemon=True)
    thread.start()
    posted = outside.post(f"https://127.0.0.1:{listening.server_port}/", b"{}", {}, private=True)
    thread.join()
    listening.server_close()
    assert posted == Posted(None, "TLS: CERTIFICATE_VERIFY_FAILED")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_slow_receiver_is_left_after_the_whole_time(scheme: str):
    listening = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)  # accepts, never answers
    url = f"{scheme}://127.0.0.1:{listening.server_port}/"
    posted = outside.post(url, b"{}", {}, private=True, seconds=0.2)
    listening.server_close()
    assert posted == Posted(None, "no answer within 0.2 seconds")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/", "example.com", "http://", "http:///x", "javascript:alert(1)",
        "http://127.0.0.1/", "http://127.1.2.3:8080/", "http://localhost/", "http://a.localhost/",
        "http://10.0.0.1/", "http://[fec0::1]/", "http://192.0.0.8/", "http://192.168.1.1/", "http://172.16.0.1/", "http://169.254.169.254/",
        "http://100.100.100.200/", "http://0.0.0.0/", "http://[::1]/", "http://[fe80::1]/",
        "http://[::ffff:127.0.0.1]/", "http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/",
        "http://example.com:22/", "http://example.com:99999/", "http://user:pw@example.com/",
        "http://example.com/\r\nX-Evil: 1", "http://example.com/ a", "http://例子.cn/",
        "http://example.com/" + "a" * 3000,
    ],
)  # fmt: skip
def test_an_address_inside_or_misshapen_is_refused(url: str):
    with pytest.raises(Invalid) as problem:
        outside.check_url(url)
    assert problem.value.field == "url"


@pytest.mark.parametrize(
    "found", [["127.0.0.1"], ["93.184.216.34", "10.0.0.1"], ["fe80::1%eth0"], []]
)
def test_a_name_that_leads_inside_is_not_connected_to(found: list[str]):
    posted = outside.post("http://example.com/", b"", {}, names=lambda _host, _port: found)
    assert posted.status is None and posted.error


def test_the_checked_address_is_the_one_connected_to(receiver: Receiver):
    """The name is asked once: no second answer can lead elsewhere."""
    asked: list[str] = []

    def names(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    url = receiver.url.replace("127.0.0.1", "shop.example")
    assert outside.post(url, b"{}", {}, private=True, names=names).status == 200
    assert asked == ["shop.example"]
    assert receiver.got[0][0]["host"].startswith("shop.example:")


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:4700::1111"])
def test_an_address_of_the_internet_is_allowed(address: str):
    assert outside.allowed(ipaddress.ip_address(address))


def test_a_real_account_never_posts_to_this_machine(session: Session, now: datetime):
    account_id = factories.make_account(session, now=now)
    with pytest.raises(Invalid):
        webhooks.create(
            session, account_id, "http://127.0.0.1/", ["message"], now, by="Bo", secret_key=KEY
        )


@pytest.mark.parametrize("kinds", [[], [" "], ["x" * 61], ["a\nb"]])
def test_events_have_names(session: Session, now: datetime, kinds: list[str]):
    account_id = factories.make_account(session, now=now)
    with pytest.raises(Invalid):
        webhooks.create(
            session, account_id, "https://example.com", kinds, now, by="Bo", secret_key=KEY
        )


def test_finished_deliveries_go_after_a_month(rt: Runtime, brand: int, receiver: Receiver):
    webhook_id, _ = made(rt, brand, receiver.url)
    happens(rt, brand, "message")
    later(rt, seconds=6)
    with db.writing(rt.engine) as session:
        assert webhook_deliveries.prune(session, rt.clock() + timedelta(days=29), 100) == 0
        assert webhook_deliveries.prune(session, rt.clock() + timedelta(days=31), 100) == 1
    assert told(rt, brand, webhook_id) == []
