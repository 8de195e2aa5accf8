"""The pages of the demo."""

from django.urls import include, path

urlpatterns = [path("", include("demo_project.chat.urls"))]
