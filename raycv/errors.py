"""The two ways in which a stage can end without having done its work."""


class UserError(Exception):
    """Something a user can mend: one clear sentence with the thing, what was found, what is allowed and what to do.

    The command line prints it without a traceback and exits with code 2.
    """


class StageFailed(Exception):
    """A stage could not do all its work: one sentence with what failed and where its log is.

    What was finished is kept, and the same command goes on from there. The command line exits with code 1.
    """
