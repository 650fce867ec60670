"""The one exception that a user is meant to read."""


class UserError(Exception):
    """Something that the user can mend: what is wrong, where, and what to do.

    The command line prints the message alone, without a traceback, and exits with 1.
    """
