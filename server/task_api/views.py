"""The one page for people."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

__all__ = ["home"]


def home(request: HttpRequest) -> HttpResponse:
    """Name the project and link to what it serves."""
    return render(request, "task_api/home.html")
