"""The API's error envelope: status, type, message, details (API docs, errors)."""

from __future__ import annotations

from typing import Any

#: HTTP status -> the API's name of the error
TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class ApiError(Exception):
    """A refusal by the simulated API: an HTTP status, a message in the API's words, optional details and headers."""

    def __init__(
        self,
        status: int,
        message: str,
        details: dict[str, Any] | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.details = details
        self.headers = headers


def bad_request(message: str, details: dict[str, Any] | None = None) -> ApiError:
    """Return a 400 `invalid_request_error`."""
    return ApiError(400, message, details)


def envelope(error: ApiError, request_id: str) -> dict[str, Any]:
    """Return the JSON body of an error answer."""
    inner: dict[str, Any] = {"type": TYPES[error.status], "message": error.message}
    if error.details is not None:
        inner["details"] = error.details
    return {"type": "error", "error": inner, "request_id": request_id}
