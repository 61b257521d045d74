"""Tells whether Python runs this project or a mixture with another `official`."""

import os

import official
from official.utils.errors import UserError


def check() -> None:
    """Sees that `official` is the package that this file stands in.

    Raises:
        UserError: Python found another one by that name, that of tf-models-official,
            and what is not there here: the mains would run on a mixture of both.
    """
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    found = os.path.dirname(os.path.abspath(official.__file__ or ""))
    if found != here:
        raise UserError(
            f"Python imports `official` from {found}, not from {here}; run "
            "`pip uninstall tf-models-official official-models` and then install "
            "official-models alone"
        )
