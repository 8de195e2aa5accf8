"""Views for those who watch a site: is it alive, is it ready, and its metrics.

    path("hub/", include("django_hub.urls"))

``hub/health/live`` and ``hub/health/ready`` are safe without a login: they name nobody and nothing, and
cost one look at the broker a second at most. ``hub/metrics`` answers staff, and who brings
``METRICS_TOKEN``.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine
from dataclasses import asdict
from typing import Any, TypeVar

from django.core.handlers.asgi import ASGIRequest
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from django_hub.background import background
from django_hub.conf import get_settings
from django_hub.exceptions import Damaged, Unavailable
from django_hub.health import health
from django_hub.stores.registry import get_store
from django_hub.stores.survey import HubSurvey

T = TypeVar("T")

# Hubs that are looked at for a scrape, and seconds which that may take: Prometheus waits for ten, and is to
# have all else where the broker hangs.
_HUBS = 1000
_PATIENCE = 5.0


@never_cache
@require_safe
async def live(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """200: the process answers. Nothing else is looked at: what is wrong elsewhere no restart mends."""
    return JsonResponse({"alive": True})


@never_cache
@require_safe
async def ready(request: HttpRequest) -> HttpResponse:
    """200, or 503: the store or the channel layer can't be reached, or nothing comes from it."""
    found = await _on_lasting_loop(request, health())
    return JsonResponse({"ready": found.ready, **asdict(found)}, status=200 if found.ready else 503)


@never_cache
@require_safe
async def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus' text format. 404 while ``METRICS`` is off, 403 for who may not read them."""
    settings = get_settings()
    if not settings.METRICS:
        raise Http404("DJANGO_HUB['METRICS'] is off")
    if not await _may_read(request, settings.METRICS_TOKEN):
        return HttpResponse("Metrics are for staff, or for who brings METRICS_TOKEN.\n", "text/plain", 403)
    from django_hub import metrics as ours  # an extra: only there with METRICS

    ours.waiting(await _on_lasting_loop(request, _waiting()))
    # It may read many files.
    text = await asyncio.to_thread(ours.exposition)
    return HttpResponse(text, content_type="text/plain; version=0.0.4; charset=utf-8")


async def _waiting() -> list[HubSurvey] | None:
    store = get_store()
    try:
        async with asyncio.timeout(_PATIENCE):
            return await store.survey(await store.with_mail(most=_HUBS))
    except (Unavailable, Damaged, TimeoutError):
        return None


async def _may_read(request: HttpRequest, token: str) -> bool:
    given = request.headers.get("Authorization", "")
    if token and secrets.compare_digest(given.encode(), f"Bearer {token}".encode()):
        return True
    if not hasattr(request, "auser"):
        return False
    user = await request.auser()
    return bool(user.is_active and user.is_staff)


async def _on_lasting_loop(request: HttpRequest, work: Coroutine[Any, Any, T]) -> T:
    """Under WSGI each request has a loop of its own, and connections would die with it."""
    if isinstance(request, ASGIRequest):
        return await work
    return await asyncio.to_thread(background.run, work)
