"""The home page."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

__all__ = ["home"]


def home(request: HttpRequest) -> HttpResponse:
    """Answer with the project's name and links to the API and the admin."""
    return render(request, "task_api/home.html")
