"""Outgoing webhooks: made, changed, tried, and what they were told."""

from typing import Annotated, Any, Literal

from pydantic import Field

from bot import webhooks
from bot.api.cursors import Listing, page, position, slice_of
from bot.api.door import needs
from bot.api.frame import OPEN_ID, Area, Asked, Call, Id, Nothing, Page, Told, When
from bot.api.problems import found
from bot.db import Session
from bot.webhooks import Delivery, Webhook

area = Area("webhooks", "Webhooks · Webhook")
Kind = Annotated[str, Field(min_length=1, max_length=60)]


class WebhookTold(Told):
    id: Id
    url: str
    events: list[str]
    open_id: bool = Field(description="whether payloads hold the whole OpenID")
    active: bool
    off: str | None = Field(description="why it was switched off by itself")
    created_by: str
    created_at: When


class WebhookMade(WebhookTold):
    secret: str = Field(description="signs what is sent; shown this once")


class WebhookWanted(Asked):
    url: str = Field(
        min_length=1, max_length=2000, description="http or https, not inside a private network"
    )
    events: list[Kind] = Field(min_length=1, max_length=100, description="`*` is every event")
    open_id: bool = Field(False, description="needs the scope `followers.open_id`")


class WebhookChange(WebhookWanted):
    active: bool = True


class Secret(Told):
    secret: str


class DeliveryTold(Told):
    id: str = Field(description="the `webhook-id` of the request")
    number: Id
    event: str
    status: Literal["waiting", "sent", "failed"]
    attempts: int
    answer: int | None = Field(description="the HTTP status of the last try")
    error: str | None
    data: dict[str, Any]
    created_at: When
    next_try_at: When | None
    finished_at: When | None


@area("GET", "/webhooks", "webhooks.write")
def webhooks_list(call: Call, session: Session, query: Page) -> Listing[WebhookTold]:
    """The webhooks of this account."""
    return slice_of(call, query, webhooks.every(session, call.account.id), _told)


@area("GET", "/webhooks/<webhook_id>", "webhooks.write")
def webhook_get(call: Call, session: Session, webhook_id: Id) -> WebhookTold:
    """One webhook. Its secret is not told again."""
    return _told(_found(call, session, webhook_id))


@area("POST", "/webhooks", "webhooks.write", status=201)
def webhook_create(call: Call, session: Session, body: WebhookWanted) -> WebhookMade:
    """A new webhook, told of what happens from now on."""
    if body.open_id:
        needs(call.bearer, OPEN_ID)
    webhook_id, secret = webhooks.create(
        session,
        call.account.id,
        body.url,
        body.events,
        call.now,
        by=call.by,
        secret_key=call.rt.secret_key,
        open_id=body.open_id,
    )
    made = _found(call, session, webhook_id)
    call.audit(session, "webhook.create", f"webhook:{webhook_id}", after=body.model_dump())
    return WebhookMade(**_told(made).model_dump(), secret=secret)


@area("PUT", "/webhooks/<webhook_id>", "webhooks.write")
def webhook_update(
    call: Call, session: Session, webhook_id: Id, body: WebhookChange
) -> WebhookTold:
    """Change a webhook, switch it on or off."""
    before = _found(call, session, webhook_id)
    if body.open_id and not (before.open_id and before.url == body.url.strip()):
        needs(call.bearer, OPEN_ID)
    after = webhooks.change(
        session,
        call.account.id,
        webhook_id,
        url=body.url,
        kinds=body.events,
        open_id=body.open_id,
        active=body.active,
        now=call.now,
    )
    call.audit(
        session,
        "webhook.change",
        f"webhook:{webhook_id}",
        before=_told(before).model_dump(mode="json"),
        after=body.model_dump(),
    )
    return _told(after)


@area("DELETE", "/webhooks/<webhook_id>", "webhooks.write")
def webhook_delete(call: Call, session: Session, webhook_id: Id) -> Nothing:
    """Take a webhook away; what still waits is given up."""
    before = _found(call, session, webhook_id)
    webhooks.archive(session, call.account.id, webhook_id, call.now)
    call.audit(session, "webhook.delete", f"webhook:{webhook_id}", before={"url": before.url})
    return Nothing()


@area("POST", "/webhooks/<webhook_id>/rotate", "webhooks.write")
def webhook_rotate(call: Call, session: Session, webhook_id: Id) -> Secret:
    """A new secret; the old one signs nothing any more."""
    _found(call, session, webhook_id)
    secret = webhooks.rotate(session, call.account.id, webhook_id, call.rt.secret_key)
    call.audit(session, "webhook.rotate", f"webhook:{webhook_id}")
    return Secret(secret=secret)


@area("POST", "/webhooks/<webhook_id>/ping", "webhooks.write", status=202)
def webhook_ping(call: Call, session: Session, webhook_id: Id) -> Nothing:
    """Send a `webhook.ping` in a few seconds."""
    _found(call, session, webhook_id)
    webhooks.ping(session, call.account.id, webhook_id, call.now)
    return Nothing()


@area("GET", "/webhooks/<webhook_id>/deliveries", "webhooks.write")
def webhook_deliveries(
    call: Call, session: Session, webhook_id: Id, query: Page
) -> Listing[DeliveryTold]:
    """What a webhook was told, the newest first."""
    _found(call, session, webhook_id)
    rows = webhooks.deliveries_of(
        session,
        call.account.id,
        webhook_id,
        before=position(call, query),
        limit=query.limit + 1,
    )
    return page(call, query, rows, _delivery, lambda row: row.id)


@area("POST", "/webhooks/deliveries/<number>/retry", "webhooks.write", status=202)
def webhook_retry(call: Call, session: Session, number: Id) -> Nothing:
    """Try one delivery again, with the same id."""
    found(webhooks.has_delivery(session, call.account.id, number) or None)
    webhooks.retry(session, call.account.id, number, call.now)
    call.audit(session, "webhook.retry", f"delivery:{number}")
    return Nothing()


def _found(call: Call, session: Session, webhook_id: int) -> Webhook:
    return found(webhooks.get(session, call.account.id, webhook_id))


def _told(webhook: Webhook) -> WebhookTold:
    return WebhookTold(
        id=webhook.id,
        url=webhook.url,
        events=list(webhook.kinds),
        open_id=webhook.open_id,
        active=webhook.active,
        off=webhook.off,
        created_by=webhook.created_by,
        created_at=webhook.created_at,
    )


def _delivery(row: Delivery) -> DeliveryTold:
    return DeliveryTold(
        id=f"msg_{row.id}",
        number=row.id,
        event=row.kind,
        status=row.status,
        attempts=row.attempts,
        answer=row.answer,
        error=row.error,
        data=dict(row.payload),
        created_at=row.created_at,
        next_try_at=row.next_try_at,
        finished_at=row.finished_at,
    )
