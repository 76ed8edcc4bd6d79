"""What a service answers when it does not do as asked: a status and one sentence."""

from __future__ import annotations

from nearfar.errors import InputError, NearfarError, RunError

__all__ = ["Refused", "status_of"]


class Refused(NearfarError):  # noqa: N818 - the request is refused, nothing went wrong
    """A request is refused.

    Attributes:
        status: the HTTP status.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def status_of(error: NearfarError) -> int:
    """Return the HTTP status of an error: 422 for wrong input, 409 for what does not fit this index."""
    if isinstance(error, Refused):
        return error.status
    if isinstance(error, InputError):
        return 422
    return 409 if isinstance(error, RunError) else 500
