"""The paths of the server, each with its view."""

from django.contrib import admin
from django.urls import path, re_path

from task_api import errors
from task_api.api import api
from task_api.views import home

urlpatterns = [
    path("", home, name="home"),
    path("admin/", admin.site.urls),
    re_path(r"^api/?$", errors.nothing),  # before ninja's own page, which wants a CSRF token
    path("api/", api.urls),
]
