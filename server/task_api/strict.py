"""Refusals of requests that ninja alone would read with a guess."""

import json
from collections.abc import Callable
from functools import wraps
from typing import Any, NoReturn

from django.http import HttpRequest
from ninja.errors import HttpError, ValidationError
from ninja.parser import Parser

__all__ = ["StrictJson", "exact_query"]


class StrictJson(Parser):
    """JSON as in RFC 8259: UTF-8, no NaN, no name twice, with the content type application/json."""

    def parse_body(self, request: HttpRequest) -> Any:
        charset = (request.content_params or {}).get("charset", "utf-8").lower()
        if (request.content_type, charset) != ("application/json", "utf-8"):
            raise HttpError(415, "The body must be application/json, in UTF-8.")
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise HttpError(415, "The body must not be compressed.")
        return json.loads(
            request.body.decode(), parse_constant=_refuse, object_pairs_hook=_without_repeats
        )


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) < len(pairs):
        raise HttpError(400, "An object in the body has a name twice.")
    return names


def exact_query(view: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate an operation: refuse unknown parameters of the query, and parameters given twice."""
    models: list[Any] = view._ninja_operation.models  # type: ignore[attr-defined]
    queries = [model for model in models if model.__ninja_param_source__ == "query"]
    known = {name for model in queries for name in model.__ninja_flatten_map__}

    @wraps(view)
    def exact(request: HttpRequest, **values: Any) -> Any:
        flaws = [
            {"loc": ("query", name), "msg": "Given twice" if name in known else "Not known"}
            for name, given in request.GET.lists()
            if name not in known or len(given) > 1
        ]
        if flaws:
            raise ValidationError(flaws)
        return view(request, **values)

    return exact
