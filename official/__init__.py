"""Official Models: a garden of reference models on TensorFlow and Keras 3.

Importing the package costs milliseconds: TensorFlow is imported by the modules that
need it.
"""

import importlib.metadata
import os
import warnings

# The first two numbers are those of the TensorFlow release that the garden targets.
__version__ = "2.21.0"


def _check_name_collision() -> None:
    """Tells apart this package and tf-models-official, which is imported by one name.

    Raises:
        ImportError: both are installed into one folder, so that files of either have
            overwritten the other's.
    """
    try:
        other = importlib.metadata.distribution("tf-models-official")
    except importlib.metadata.PackageNotFoundError:
        return
    here = os.path.dirname(os.path.abspath(__file__))
    remedy = (
        "run `pip uninstall tf-models-official official-models` and then install "
        "official-models alone"
    )
    if os.path.abspath(str(other.locate_file("official"))) == here:
        raise ImportError(
            f"tf-models-official {other.version} and official-models share the folder "
            f"{here} and overwrite each other's files; {remedy}"
        )
    warnings.warn(
        f"tf-models-official {other.version} is installed too and has the same import "
        f"name; `official` is now {here}. To be sure of it, {remedy}",
        stacklevel=3,
    )


_check_name_collision()
