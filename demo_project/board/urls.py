"""The board's pages, and what these call."""

from django.urls import path

from . import views

app_name = "board"
urlpatterns = [
    path("", views.boards, name="boards"),
    path("leave/", views.leave, name="leave"),
    path("<int:pk>/", views.board, name="board"),
    path("<int:pk>/data/", views.data, name="data"),
    path("<int:pk>/lock/", views.lock, name="lock"),
    path("<int:pk>/notes/", views.add, name="add"),
    path("<int:pk>/notes/<int:note>/", views.change, name="change"),
    path("<int:pk>/notes/<int:note>/remove/", views.remove, name="remove"),
    path("<int:pk>/notes/<int:note>/vote/", views.vote, name="vote"),
]
