"""The one exception that stands for a user's mistake or for something a user can mend."""


class UserError(Exception):
    """One clear sentence naming the thing, what was found, what is allowed and what to do.

    The command line prints it without a traceback and exits with code 2.
    """
