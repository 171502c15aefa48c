"""``/subscriptions``: webhooks on the feed, their secret, their log."""

import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from service import subscriptions as store
from service.api import schemas
from service.api.dependencies import (
    DEFAULT_LIMIT,
    JSON,
    Body,
    Cursor,
    IdempotencyKey,
    Limit,
    ReportsReader,
    ServiceOf,
    SitesWriter,
    address,
    answer,
    body_schema,
    capped,
    next_link,
    parse_body,
    place_in_time,
)
from service.audit import Caller, record
from service.context import Service, require
from service.database import Record
from service.feed import number_of
from service.idempotency import Answer
from service.identifiers import encode_cursor
from service.keys import pepper
from service.webhooks import check_target, secret_of

router = APIRouter(prefix="/subscriptions", tags=["subscriptions"])

ROUTE = "POST /subscriptions"


def _secret(service: Service, row: Record) -> str:
    return secret_of(pepper(service.settings), row.id, row.secret_version)


def _may_send(caller: Caller) -> None:
    """A subscription sends reports away: who may not read them may not send them."""
    require(caller, "reports:read")


@router.post(
    "",
    status_code=201,
    openapi_extra=body_schema(schemas.SubscriptionIn),
    responses={201: {"model": schemas.Subscription}},
)
def post_subscription(
    request: Request,
    service: ServiceOf,
    caller: SitesWriter,
    body: Body,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Have news sent to an address as they become known. The answer holds the secret that signs them, this once."""
    _may_send(caller)
    wanted = parse_body(request, body, schemas.SubscriptionIn)
    check_target(wanted.url, service.settings.allowed_hosts)
    draft = store.SubscriptionDraft(
        wanted.url,
        tuple(dict.fromkeys(wanted.kinds)),
        None if wanted.sites is None else tuple(dict.fromkeys(wanted.sites)),
        wanted.note,
        number_of(wanted.since, "/since") if wanted.since is not None else None,
    )
    with service.replays.once(caller, ROUTE, idempotency_key), service.database.write() as connection:
        made = service.replays.recall(connection, caller, ROUTE, idempotency_key, body)
        if made is None:
            row = store.subscribe(service.database, connection, caller, draft)
            record(service.database, connection, caller, "subscription.create", row.id)
            shown = json.dumps(store.describe(row), ensure_ascii=False)
            made = Answer(201, {"Location": f"/subscriptions/{row.id}"}, shown)
            service.replays.remember(connection, caller, ROUTE, idempotency_key, made)
    # The secret is computed, so that the remembered answer need not hold it.
    told: dict[str, Any] = json.loads(made.body)
    told["secret"] = secret_of(pepper(service.settings), told["id"], 1)
    return answer(told, status=201, headers={**made.headers, "Cache-Control": "no-store"})


@router.get("", responses={200: {"model": schemas.SubscriptionList}})
def get_subscriptions(
    request: Request,
    service: ServiceOf,
    caller: ReportsReader,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """List your subscriptions with their state."""
    after = place_in_time(cursor)
    size = capped(limit)
    with service.database.read() as connection:
        rows = store.list_subscriptions(connection, caller.tenant, after, size + 1)
    links = [{"rel": "self", "href": address(request), "type": JSON}]
    if len(rows) > size:
        links.append(next_link(request, encode_cursor(rows[size - 1].created, rows[size - 1].id)))
    return answer({"subscriptions": [store.describe(row) for row in rows[:size]], "links": links})


@router.get("/{subscription}", responses={200: {"model": schemas.Subscription}})
def get_subscription(service: ServiceOf, caller: ReportsReader, subscription: str) -> Response:
    """Return one subscription; where it was disabled, `reason` says why."""
    with service.database.read() as connection:
        return answer(store.describe(store.find_subscription(connection, caller.tenant, subscription)))


@router.patch(
    "/{subscription}",
    openapi_extra=body_schema(schemas.SubscriptionPatchIn),
    responses={200: {"model": schemas.Subscription}},
)
def patch_subscription(
    request: Request, service: ServiceOf, caller: SitesWriter, subscription: str, body: Body
) -> Response:
    """Change a subscription; `active` after a pause goes on where it stopped, and nothing is lost."""
    _may_send(caller)
    wanted = parse_body(request, body, schemas.SubscriptionPatchIn)
    values: dict[str, Any] = {
        name: getattr(wanted, name) for name in ("url", "note", "state") if getattr(wanted, name) is not None
    }
    if wanted.kinds is not None:
        values["kinds"] = json.dumps(list(dict.fromkeys(wanted.kinds)))
    if "sites" in wanted.model_fields_set:
        values["sites"] = None if wanted.sites is None else json.dumps(list(dict.fromkeys(wanted.sites)))
    if wanted.url is not None:
        check_target(wanted.url, service.settings.allowed_hosts)
    with service.database.write() as connection:
        row = store.find_subscription(connection, caller.tenant, subscription, lock=True)
        store.check_sites(connection, caller.tenant, wanted.sites)
        if values:
            row = store.change_subscription(service.database, connection, row, values)
            record(service.database, connection, caller, "subscription.change", row.id)
    return answer(store.describe(row))


@router.delete("/{subscription}", status_code=204, response_class=Response)
def delete_subscription(service: ServiceOf, caller: SitesWriter, subscription: str) -> Response:
    """End a subscription; what waited for it and its log are gone."""
    with service.database.write() as connection:
        row = store.find_subscription(connection, caller.tenant, subscription, lock=True)
        store.unsubscribe(connection, row.id)
        record(service.database, connection, caller, "subscription.delete", row.id)
    return Response(status_code=204)


@router.post("/{subscription}/test", status_code=202, responses={202: {"model": schemas.Delivery}})
def post_test(service: ServiceOf, caller: SitesWriter, subscription: str) -> Response:
    """Send a test message; look at the delivery to see how it went."""
    _may_send(caller)
    with service.database.write() as connection:
        row = store.find_subscription(connection, caller.tenant, subscription, lock=True)
        made = store.enqueue_test(service.database, connection, row)
        record(service.database, connection, caller, "subscription.test", row.id)
    return _accepted(made)


def _accepted(row: Record) -> Response:
    here = f"/subscriptions/{row.subscription}/deliveries/{row.id}"
    return answer(store.describe_delivery(row), status=202, headers={"Location": here, "Retry-After": "2"})


@router.post("/{subscription}/secret", responses={200: {"content": {JSON: {"schema": {"type": "object"}}}}})
def post_secret(service: ServiceOf, caller: SitesWriter, subscription: str) -> Response:
    """Turn to a new secret and return it, this once. For a day the one before signs too."""
    _may_send(caller)
    with service.database.write() as connection:
        row = store.find_subscription(connection, caller.tenant, subscription, lock=True)
        row = store.rotate_secret(service.database, connection, row)
        record(service.database, connection, caller, "subscription.rotate", row.id)
    return answer(
        {**store.describe(row), "secret": _secret(service, row)}, headers={"Cache-Control": "no-store"}
    )


@router.get("/{subscription}/deliveries", responses={200: {"model": schemas.DeliveryList}})
def get_deliveries(
    request: Request,
    service: ServiceOf,
    caller: ReportsReader,
    subscription: str,
    state: Annotated[Literal["waiting", "delivered", "failed"] | None, Query()] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> Response:
    """Return what was sent and what waits to be, newest first; kept for 30 days after the end."""
    before = place_in_time(cursor)
    size = capped(limit)
    with service.database.read() as connection:
        store.find_subscription(connection, caller.tenant, subscription)
        rows = store.list_deliveries(connection, subscription, state, before, size + 1)
    links = [{"rel": "self", "href": address(request), "type": JSON}]
    if len(rows) > size:
        links.append(next_link(request, encode_cursor(rows[size - 1].created, rows[size - 1].id)))
    return answer({"deliveries": [store.describe_delivery(row) for row in rows[:size]], "links": links})


@router.get("/{subscription}/deliveries/{delivery}", responses={200: {"model": schemas.Delivery}})
def get_delivery(service: ServiceOf, caller: ReportsReader, subscription: str, delivery: str) -> Response:
    """Return one delivery with its message and every attempt."""
    with service.database.read() as connection:
        store.find_subscription(connection, caller.tenant, subscription)
        row = store.find_delivery(connection, subscription, delivery)
        told = {
            **store.describe_delivery(row),
            "message": json.loads(row.body),
            "log": store.attempts_of(connection, row.id),
        }
    return answer(told)


@router.post(
    "/{subscription}/deliveries/{delivery}/redeliver",
    status_code=202,
    responses={202: {"model": schemas.Delivery}},
)
def post_redelivery(service: ServiceOf, caller: SitesWriter, subscription: str, delivery: str) -> Response:
    """Send a message again under its old id."""
    _may_send(caller)
    with service.database.write() as connection:
        store.find_subscription(connection, caller.tenant, subscription, lock=True)
        row = store.deliver_again(connection, store.find_delivery(connection, subscription, delivery).id)
        record(service.database, connection, caller, "delivery.again", row.id)
    return _accepted(row)
