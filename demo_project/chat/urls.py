"""The chat's pages."""

from django.urls import path

from . import views

app_name = "chat"
urlpatterns = [
    path("", views.lobby, name="lobby"),
    path("rooms/", views.rooms, name="rooms"),
    # `path`, not `str`: a room with a slash in it, too, gets the page that says the rule.
    path("chat/<path:room>/", views.chat, name="chat"),
]
