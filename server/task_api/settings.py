"""Django's settings, from environment variables alone; `.env.example` explains each."""

import os
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from task_api.environment import Environment

env = Environment(os.environ)

BASE_DIR = Path(__file__).resolve().parent.parent


def _secret_key() -> str:
    """Refuse a key that is short or stands in a public example."""
    key = env.secret("SECRET_KEY")
    if key.startswith("django-insecure-") or "change" in key.lower():
        raise ImproperlyConfigured("SECRET_KEY is a placeholder: generate a random one.")
    if len(key) < 32 or len(set(key)) < 8:
        raise ImproperlyConfigured("SECRET_KEY is too weak: at least 32 random characters.")
    return key


def _allowed_hosts() -> list[str]:
    hosts = env.words("ALLOWED_HOSTS")
    if not hosts and not DEBUG:
        raise ImproperlyConfigured(
            "ALLOWED_HOSTS is missing: list the host names served, with commas between, "
            "or set DEBUG=true."
        )
    return hosts


def _trusted_origins() -> list[str]:
    origins = env.words("CSRF_TRUSTED_ORIGINS")
    for origin in origins:
        if not origin.startswith(("https://", "http://")):
            raise ImproperlyConfigured(
                f"CSRF_TRUSTED_ORIGINS: {origin!r} has no scheme, write https://{origin}."
            )
    return origins


def _postgresql() -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": env.text("POSTGRES_DB"),
        "USER": env.text("POSTGRES_USER"),
        "PASSWORD": env.secret("POSTGRES_PASSWORD"),
        "HOST": env.text("POSTGRES_HOST"),
        "PORT": env.integer("POSTGRES_PORT", default=5432, maximum=65535),
        "OPTIONS": {"connect_timeout": 5, "application_name": "task_api"},
    }


def _sqlite() -> dict[str, Any]:
    path = env.text("SQLITE_PATH")
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": path if path == ":memory:" else BASE_DIR / path,
        # The defaults fail with "database is locked" as soon as two requests write.
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }


# -- Required variables ---------------------------------------------------------------

DEBUG = env.boolean("DEBUG", default=False)
SECRET_KEY = _secret_key()
ALLOWED_HOSTS = _allowed_hosts()
CSRF_TRUSTED_ORIGINS = _trusted_origins()

DATABASE_ENGINE = env.choice("DATABASE_ENGINE", ("postgresql", "sqlite"))
DATABASES = {
    "default": {
        **(_postgresql() if DATABASE_ENGINE == "postgresql" else _sqlite()),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,  # a restarted database is noticed before a request fails
    }
}
# Milliseconds, for requests alone: wsgi.py applies it.
STATEMENT_TIMEOUT = env.integer("STATEMENT_TIMEOUT", default=15_000, maximum=3_600_000)

# -- HTTPS ----------------------------------------------------------------------------

# No SECURE_PROXY_SSL_HEADER: Gunicorn already sets the scheme from X-Forwarded-Proto,
# and for the proxies in FORWARDED_ALLOW_IPS alone.
HTTPS_ONLY = env.boolean("HTTPS_ONLY", default=not DEBUG)
SECURE_SSL_REDIRECT = HTTPS_ONLY
SESSION_COOKIE_SECURE = HTTPS_ONLY
CSRF_COOKIE_SECURE = HTTPS_ONLY
SECURE_HSTS_SECONDS = 86_400 if HTTPS_ONLY else 0
# Sub-domains and preload lists: the owner of the domain decides, not this service.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]

# -- The application ------------------------------------------------------------------

INSTALLED_APPS = [
    "task_api",  # first, so that its migrate command comes before Django's
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "ninja",  # so that /api/docs serves its own scripts instead of a CDN's
]
MIDDLEWARE = [
    "task_api.probes.ProbeMiddleware",  # first: no Host check, no redirect, no session
    "task_api.errors.ProblemMiddleware",  # before every middleware that can refuse
    "task_api.bodies.ChunkedBodyMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "task_api.gate.DatabaseGateMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "task_api.urls"
WSGI_APPLICATION = "task_api.wsgi.application"
AUTH_USER_MODEL = "task_api.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
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

DATA_UPLOAD_MAX_MEMORY_SIZE = 256 * 1024  # bytes of a body that is not a file

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True

STATIC_URL = "/static/"
# In development whitenoise serves the files of each app: nothing to collect.
STATIC_ROOT = None if DEBUG else BASE_DIR / "staticfiles"
_STATIC_STORAGE = (
    "django.contrib.staticfiles.storage.StaticFilesStorage"
    if DEBUG
    else "whitenoise.storage.CompressedManifestStaticFilesStorage"
)
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": _STATIC_STORAGE},
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"brief": {"()": "task_api.quiet.BriefRefusals"}},
    "formatters": {
        "line": {
            "()": "one_line.OneLine",
            "fmt": "{asctime} {levelname} {name}: {message}",
            "style": "{",
            "indent": "  ",
        }
    },
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["brief"]}
    },
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {
        "django": {
            "handlers": [],
            "level": "INFO",
        },  # Django's handlers would log twice, or send mail
        # The access log already has every 4xx.
        "django.request": {"level": "ERROR"},
    },
}
