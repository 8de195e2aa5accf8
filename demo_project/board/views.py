"""Plain Django views: they know requests, forms and models. That pages hear of a change is `changes`'s."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth import login, logout
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from . import changes
from .forms import EnterForm, NoteForm
from .models import Board, Note

View = Callable[..., HttpResponse]


def for_pages(view: View) -> View:
    """Answers what a page's script asks: JSON, also where it is no."""

    @require_POST
    @wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not request.user.is_authenticated:
            return JsonResponse({"error": "You are not logged in any more."}, status=401)
        try:
            return view(request, *args, **kwargs)
        except changes.NotNow as error:
            return JsonResponse({"error": str(error)}, status=409)

    return answer


@require_http_methods(["GET", "HEAD", "POST"])
def boards(request: HttpRequest) -> HttpResponse:
    """The door, and for who is in, the boards."""
    form = EnterForm(request.POST or None, initial={"name": request.user.get_username()})
    if request.method == "POST" and form.is_valid():
        login(request, form.save())
        return redirect("board:board", pk=form.cleaned_data["team"].boards.first().pk)
    mine = Board.objects.of(request.user.pk).select_related("group") if request.user.pk else []
    status = 400 if form.is_bound else 200
    return render(request, "board/boards.html", {"form": form, "boards": mine}, status=status)


@require_POST
def leave(request: HttpRequest) -> HttpResponse:
    logout(request)
    return redirect("board:boards")


@require_safe
@login_required
def board(request: HttpRequest, pk: int) -> HttpResponse:
    found = board_of(request, pk)
    return render(request, "board/board.html", {"board": found})


@require_safe
@login_required
@never_cache
def data(request: HttpRequest, pk: int) -> HttpResponse:
    """All that a page shows: loaded when it comes, and anew after it was away for too long."""
    # The board first: a change that comes in between is then in the notes, or told by a later revision.
    with transaction.atomic():
        found = board_of(request, pk)
        notes = found.notes.select_related("author").prefetch_related("votes")
        answer = {
            "revision": found.revision,
            "locked": found.locked,
            "notes": [note.as_json() for note in notes],
        }
    return JsonResponse(answer)


@for_pages
def add(request: HttpRequest, pk: int) -> HttpResponse:
    form = NoteForm(request.POST.dict(), Note())
    if not form.is_valid():
        return refused(form)
    note = changes.add_note(board_of(request, pk).pk, user_of(request), form.save(commit=False))
    return JsonResponse({"note": note.as_json()}, status=201)


@for_pages
def change(request: HttpRequest, pk: int, note: int) -> HttpResponse:
    form = NoteForm(request.POST.dict(), note_of(request, pk, note))
    if not form.is_valid():
        return refused(form)
    changes.save_note(form.save(commit=False), list(form.fields))
    return JsonResponse({})


@for_pages
def remove(request: HttpRequest, pk: int, note: int) -> HttpResponse:
    changes.remove_note(note_of(request, pk, note))
    return JsonResponse({})


@for_pages
def vote(request: HttpRequest, pk: int, note: int) -> HttpResponse:
    changes.vote(note_of(request, pk, note), user_of(request), wanted=wanted(request))
    return JsonResponse({})


@for_pages
def lock(request: HttpRequest, pk: int) -> HttpResponse:
    changes.lock(board_of(request, pk).pk, wanted=wanted(request))
    return JsonResponse({})


def board_of(request: HttpRequest, pk: int) -> Board:
    """A board of others is one that isn't there."""
    return get_object_or_404(Board.objects.of(request.user.pk), pk=pk)


def note_of(request: HttpRequest, pk: int, note: int) -> Note:
    return get_object_or_404(Note, pk=note, board=board_of(request, pk))


def user_of(request: HttpRequest) -> User:
    return get_object_or_404(User, pk=request.user.pk or 0)


def wanted(request: HttpRequest) -> bool:
    return request.POST.get("wanted") == "yes"


def refused(form: NoteForm) -> HttpResponse:
    errors = [str(error) for errors in form.errors.values() for error in errors]
    return JsonResponse({"error": " ".join(errors)}, status=400)
