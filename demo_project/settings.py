"""Settings of the demo.

Everything that differs between a laptop, a test and a server comes from the environment:
``DEBUG``, ``SECRET_KEY``, ``ALLOWED_HOSTS``, ``DATABASE``,
``REDIS_URL``, ``CHANNEL_LAYER``, ``DJANGO_HUB``.
"""

import json
import os
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent


def env_flag(name: str, default: bool) -> bool:
    """A yes or no from the environment; anything else is refused, not guessed."""
    text = os.environ.get(name, "").strip().lower()
    if not text:
        return default
    if text in {"1", "true", "yes", "on"}:
        return True
    if text in {"0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{name} must be 1 or 0, not {text!r}.")


def env_list(name: str, default: str) -> list[str]:
    """A comma-separated list from the environment."""
    return [item for part in os.environ.get(name, default).split(",") if (item := part.strip())]


def env_object(name: str) -> dict[str, Any]:
    """A JSON object from the environment."""
    try:
        value = json.loads(os.environ.get(name) or "{}")
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} must be a JSON object: {error}.") from error
    if not isinstance(value, dict):
        raise ImproperlyConfigured(f"{name} must be a JSON object, not {type(value).__name__}.")
    return value


def channel_layer(redis_url: str, kind: str) -> dict[str, Any]:
    """The one setting that decides between one process and many."""
    if kind not in {"core", "pubsub"}:
        raise ImproperlyConfigured(f"CHANNEL_LAYER must be 'core' or 'pubsub', not {kind!r}.")
    if not redis_url:
        return {"BACKEND": "channels.layers.InMemoryChannelLayer"}
    backend = {
        "core": "channels_redis.core.RedisChannelLayer",
        "pubsub": "channels_redis.pubsub.RedisPubSubChannelLayer",
    }[kind]
    # redis-py 8 gives up on a read after 5 seconds, which is just how long an idle layer blocks:
    # without a longer time-out every idle process dies of it.
    host = {"address": redis_url, "socket_timeout": 15, "health_check_interval": 30}
    return {"BACKEND": backend, "CONFIG": {"hosts": [host]}}


DEBUG = env_flag("DEBUG", default=True)

SECRET_KEY = os.environ.get("SECRET_KEY", "")
if not SECRET_KEY:
    if not DEBUG:
        raise ImproperlyConfigured(
            "With DEBUG off the environment must give a SECRET_KEY. One is made by: python -c "
            "'from django.core.management.utils import get_random_secret_key as k; print(k())'"
        )
    SECRET_KEY = "for development only: sessions signed with this key are not safe"

ALLOWED_HOSTS = env_list("ALLOWED_HOSTS", default="localhost,127.0.0.1,[::1]")

INSTALLED_APPS = [
    "daphne",  # first: `manage.py runserver` then speaks websockets too
    "django_hub",  # before channels: its `runworker` is the one to find
    "channels",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "demo_project.chat",
    "demo_project.board",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ASGI_APPLICATION = "demo_project.asgi.application"
ROOT_URLCONF = "demo_project.urls"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

CHANNEL_LAYERS = {
    "default": channel_layer(os.environ.get("REDIS_URL", ""), os.environ.get("CHANNEL_LAYER", "core"))
}

# From the environment, so that a test can start a server whose leases end within its patience.
DJANGO_HUB = env_object("DJANGO_HUB")

# The boards and their users are kept here; the chat asks nothing of it. SQLite as it should be for a site:
# readers don't wait for a writer, and a transaction that will write waits for its turn at its beginning.
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("DATABASE") or BASE_DIR / "db.sqlite3",
        "OPTIONS": {
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# In signed cookies: the chat runs without a migration.
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"

LOGIN_URL = "board:boards"

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"

TIME_ZONE = "UTC"
USE_TZ = True

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "daphne": {"level": "INFO"},
        "django": {"level": "INFO", "handlers": []},  # its own handler would say all a second time
        "django_hub": {"level": "INFO"},
    },
}
