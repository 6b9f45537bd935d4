"""Exit codes: what a script can tell from how a command ended."""

from __future__ import annotations

from cutover.errors import ConfigurationError, ControlDamaged, CutoverError, OwnedElsewhere

DONE = 0
FAILED = 1
USAGE = 2
BLOCKED = 3
DRIFT = 4
UNREACHABLE = 5

_WRONG_REQUEST = (400, 401, 403, 404, 405, 413)


class Unreachable(CutoverError):
    """The service's admin door does not answer, or what answers is not a cutover service."""

    code = "unreachable"
    retry = True


class Refused(CutoverError):
    """The service answered with an error. `status` is HTTP's, `body` the whole answer."""

    def __init__(self, status: int, code: str, message: str, body: dict[str, object]) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.body = body


def exit_code(error: CutoverError) -> int:
    """The exit code of a command that ended with this error."""
    if isinstance(error, Unreachable):
        return UNREACHABLE
    if isinstance(error, ConfigurationError | OwnedElsewhere | ControlDamaged):
        return USAGE
    if isinstance(error, Refused):
        if error.code == "gates_failed":
            return BLOCKED
        return USAGE if error.status in _WRONG_REQUEST else FAILED
    return FAILED
