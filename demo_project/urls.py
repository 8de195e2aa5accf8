"""The pages of the demo."""

from django.urls import include, path

urlpatterns = [
    path("", include("demo_project.chat.urls")),
    path("board/", include("demo_project.board.urls")),
]
