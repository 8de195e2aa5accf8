"""The live page of hubs in Django's admin. Its data comes over `routing`'s websocket; actions are posts."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlencode

from channels.routing import get_default_application
from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.utils import unquote
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, get_script_prefix, path, reverse
from django.views.decorators.http import require_POST

from django_hub import operations
from django_hub.exceptions import HubError, Unavailable
from django_hub.logs import printable
from django_hub.models import Hubs
from django_hub.names import require_client_id, require_hub_name
from django_hub.panel import MAY_SEE
from django_hub.routing import PATH, panel_path
from django_hub.sync import blocking

_MAY_ACT = "django_hub.change_hubs"


@admin.register(Hubs)
class HubsAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    def get_urls(self) -> list[URLPattern]:
        act = self.admin_site.admin_view(require_POST(self.act))
        return [path("act/", act, name="django_hub_hubs_act"), *super().get_urls()]

    def has_view_permission(self, request: HttpRequest, obj: Hubs | None = None) -> bool:  # noqa: ARG002
        # Not who may only act, as Django has it: seeing is reading what users say to each other.
        return request.user.has_perm(MAY_SEE)

    def has_change_permission(self, request: HttpRequest, obj: Hubs | None = None) -> bool:
        return self.has_view_permission(request, obj) and request.user.has_perm(_MAY_ACT)

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Hubs | None = None) -> bool:  # noqa: ARG002
        return False

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Hubs:  # noqa: ARG002
        return Hubs(name=object_id)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """All hubs, or with ``?hub=`` one of them."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        hub = request.GET.get("hub", "")
        socket, route_seen = _socket()
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": printable(hub) or "Hubs",
            "hub": hub,
            "may_change": self.has_change_permission(request),
            "socket": socket,
            "route_seen": route_seen,
            **(extra_context or {}),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/django_hub/hubs/panel.html", context)

    def change_view(
        self,
        request: HttpRequest,  # noqa: ARG002
        object_id: str,
        form_url: str = "",  # noqa: ARG002
        extra_context: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> HttpResponse:
        """Where the admin's log links to. The page is elsewhere: a path can't have every name ("..")."""
        here = reverse("admin:django_hub_hubs_changelist", current_app=self.admin_site.name)
        return HttpResponseRedirect(f"{here}?{urlencode({'hub': unquote(object_id)})}")

    def act(self, request: HttpRequest) -> HttpResponse:
        """Do one thing, and answer ``{"ok", "text"}``."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        action = _ACTIONS.get(request.POST.get("action", ""))
        if action is None:
            return _said(False, "There is no such action.", 400)
        try:
            hub = require_hub_name(request.POST.get("hub", ""))
            ok, done = action(hub, request.POST)
        except Unavailable as error:
            # It may be done all the same: then who did it is to be found, too.
            self._log(request, hub, f"It is not known whether this was done: {_tried(request.POST)}")
            return _said(False, f"It is not known whether it was done: {error}", 503)
        except HubError as error:
            return _said(False, str(error), 400)
        except ValueError as error:
            return _said(False, f"It can't be read: {error}", 400)
        if ok:
            self._log(request, hub, done)
        return _said(ok, done)

    @staticmethod
    def _log(request: HttpRequest, hub: str, done: str) -> None:
        LogEntry.objects.create(
            user_id=str(request.user.pk),
            content_type_id=ContentType.objects.get_for_model(Hubs).pk,
            object_id=hub,
            object_repr=printable(hub)[:200],
            action_flag=CHANGE,
            change_message=printable(done)[:2000],
        )


def _socket() -> tuple[str, bool]:
    """Where a browser finds the page's socket, and whether the application was seen to route it. It may do
    so by a function of its own, which can't be looked into, or be another server's: the browser tries."""
    prefix = get_script_prefix()
    try:
        route = panel_path(get_default_application())
    except ImproperlyConfigured:
        route = None
    if route is None:
        return prefix + PATH, False
    # Where the server leaves the prefix in the path, and says nothing of it, the project's routes have it.
    return prefix + route.lstrip("/").removeprefix(prefix.lstrip("/")), True


def _tried(given: Any) -> str:
    told = {
        name: given[name]
        for name in ("client", "reason", "text", "as", "position", "until")
        if given.get(name)
    }
    return f"{given['action']} {told}"


def _said(ok: bool, text: str, status: int = 200) -> JsonResponse:
    return JsonResponse({"ok": ok, "text": text}, status=status)


def _run(call: Callable[..., Coroutine[Any, Any, Any]], *args: Any, **kwargs: Any) -> Any:
    return blocking(call)(*args, **kwargs)


def _kick(hub: str, given: Any) -> tuple[bool, str]:
    client = require_client_id(given.get("client", ""))
    ok = _run(operations.kick, hub, client, given.get("reason") or "kicked")
    return ok, f"Kicked {client!r}." if ok else f"{client!r} is no longer here."


def _send(hub: str, given: Any) -> tuple[bool, str]:
    client = require_client_id(given.get("client", ""))
    text = given.get("text", "")
    ok = _run(operations.send, hub, client, text, as_json=given.get("as") == "json")
    return ok, f"Sent to {client!r}: {text}" if ok else f"{client!r} is no longer here."


def _broadcast(hub: str, given: Any) -> tuple[bool, str]:
    text = given.get("text", "")
    ok = _run(operations.broadcast, hub, text, as_json=given.get("as") == "json")
    return ok, f"Broadcast: {text}" if ok else "There is no such hub any more."


def _chosen(given: Any) -> tuple[list[int] | None, int | None]:
    """One letter, or all up to the newest that was shown: one that came since nobody has seen."""
    one, until = given.get("position", ""), given.get("until", "")
    return [int(one)] if one else None, int(until) if until else None


def _retry(hub: str, given: Any) -> tuple[bool, str]:
    count = _run(operations.retry, hub, *_chosen(given))
    why = "Nothing to retry: the letter is gone, or its hub is; a hub is there again with its next client."
    return bool(count), f"Dead letters put back into the mailbox: {count}." if count else why


def _drop(hub: str, given: Any) -> tuple[bool, str]:
    count = _run(operations.drop, hub, *_chosen(given))
    return bool(count), f"Dead letters dropped: {count}." if count else "Nothing to drop."


_ACTIONS: dict[str, Callable[[str, Any], tuple[bool, str]]] = {
    "kick": _kick,
    "send": _send,
    "broadcast": _broadcast,
    "retry": _retry,
    "drop": _drop,
}
