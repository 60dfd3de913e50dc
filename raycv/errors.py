"""The two errors with which a stage can end."""

WHERE = "\n  File "  # begins the line below a sentence, as in a traceback


class Sentence(Exception):
    """An error whose message says all that a person needs."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows, in place of a traceback of many frames."""
        return [str(self)]


class UserError(Sentence):
    """An error that a user can fix. One sentence says what is wrong, what was found, what is allowed and what to do.

    The command line prints it without a traceback and exits with code 2. Where a user's own code failed, `WHERE` and
    the place in it follow, which the command line prints with ``--verbose``.
    """


class StageFailed(Sentence):
    """A stage could not finish. One sentence says what failed and where its log is.

    Finished work is kept, and the same command continues from there. The command line exits with code 1.
    """
