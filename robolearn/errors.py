"""The one class of errors that are the user's to mend: the command line prints them as a line, without a traceback."""


class UserError(ValueError):
    """Says what was expected, what came, and what would have worked."""
