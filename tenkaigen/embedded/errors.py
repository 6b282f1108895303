"""The one error of the embedded servers."""


class CannotStart(Exception):
    """A server cannot be started; `str(error)` is a sentence that says what to do about it."""
