"""The paths of the server, each with its view."""

from django.contrib import admin
from django.urls import path, re_path

from task_api import errors
from task_api.api import api
from task_api.views import home

handler400 = errors.bad_request
handler404 = errors.not_found
handler500 = errors.server_error

urlpatterns = [
    path("", home, name="home"),
    path("admin/", admin.site.urls),
    re_path(r"^api/?$", errors.unknown_path),
    path("api/", api.urls),
    # after ninja's paths, so that DEBUG's 404 page stays out of the API, too
    path("api/<path:rest>", errors.unknown_path),
]
