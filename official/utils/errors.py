"""The one exception for what a user can mend."""


class UserError(ValueError):
    """Something the user gave is wrong.

    The message is one line: what is wrong, where (file, flag or record), and the
    remedy. A main prints it on stderr without a traceback and exits with code 1; in a
    notebook it is raised as it is.
    """
