"""What a site of `tests.live.site` serves where its views for those who watch are asked."""

from django.urls import include, path

from tests.live.rooms import application

__all__ = ["application"]

urlpatterns = [path("hub/", include("django_hub.urls"))]
