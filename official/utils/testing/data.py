"""Where tests find the real data sets, which are no part of the project."""

import os
import pathlib

import pytest

# official/utils/testing/data.py: the third parent above the file's own folder.
PROJECT_ROOT = pathlib.Path(__file__).resolve().parents[3]


def real_data(*parts: str) -> str:
    """Gives the path of real test data and skips the test where there is none.

    The folder is `$OFFICIAL_TEST_DATA`, by default `../shared/data` from the project's
    root. Where the environment has `CI=true`, missing data is a failure: a test that
    is always skipped tests nothing.

    Args:
      *parts: the path below that folder, such as `"mnist"` or `"glue", "SST-2"`.

    Returns:
      The path of a file or folder that exists.
    """
    default = PROJECT_ROOT.parent / "shared" / "data"
    # An empty variable counts as unset.
    root = os.environ.get("OFFICIAL_TEST_DATA") or str(default)
    path = os.path.join(root, *parts)
    if not os.path.exists(path):
        reason = f"no real data at {path}; set OFFICIAL_TEST_DATA to its folder"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path
