"""The one exception that a user is meant to read."""


class UserError(Exception):
    """Something that the user can mend: what is wrong, where, and what to do.

    The command line prints the message alone, without a traceback, and exits with 1. It is one
    line, whatever the names and reasons in it: a file's content cannot steer a terminal.
    """

    def __init__(self, message: str) -> None:
        words = " ".join(message.split())
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in words))
