"""What tests ask of every error that a user reads."""

from collections.abc import Callable
from typing import Any

import pytest

from official.utils.errors import UserError


def message_of(call: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    """Calls what must raise a `UserError`, and checks that it is one line.

    Args:
        call: what is called.
        *args: its arguments.
        **kwargs: those with names.

    Returns:
        The message.
    """
    with pytest.raises(UserError) as caught:
        call(*args, **kwargs)
    message = str(caught.value)
    assert "\n" not in message
    return message
