"""``path("hub/", include("django_hub.urls"))``: see `django_hub.views`."""

from __future__ import annotations

from django.urls import path

from django_hub import views

app_name = "django_hub"
urlpatterns = [
    path("health/live", views.live, name="live"),
    path("health/ready", views.ready, name="ready"),
    path("metrics", views.metrics, name="metrics"),
]
