"""A project with nothing but what is measured. LAYER, REDIS_URL: its channel layer; none: in memory."""

import os

SECRET_KEY = "only for benchmarks"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
INSTALLED_APPS = ["django_hub", "channels", "django.contrib.auth", "django.contrib.contenttypes"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "benchmarks.site.urls"
ASGI_APPLICATION = "benchmarks.site.asgi.application"
LOGGING_CONFIG = None

# WIRES=off: past no server's own `send`.
DJANGO_HUB: dict[str, object] = {"WIRES": ()} if os.environ.get("WIRES") == "off" else {}

if url := os.environ.get("REDIS_URL"):
    kind = os.environ.get("LAYER", "core")
    backend = {
        "core": "channels_redis.core.RedisChannelLayer",
        "pubsub": "channels_redis.pubsub.RedisPubSubChannelLayer",
    }[kind]
    # Room for all that is under way at once: stock consumers raise, or lose messages, past it.
    host = {"address": url, "socket_timeout": 15, "max_connections": 1500}
    CONFIG = {"hosts": [host], "capacity": 20_000}
    CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": CONFIG}}
else:
    CONFIG = {"capacity": 20_000}
    CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer", "CONFIG": CONFIG}}
