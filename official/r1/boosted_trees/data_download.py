"""Fetches HIGGS and turns it into a compact file.

    python -m official.r1.boosted_trees.data_download --data_dir=DIR

HIGGS.csv.gz (2.8 GB) is fetched from the UCI repository; a download that was cut goes
on, and a file that lies there already is used. HIGGS.npy (1.3 GB) is written from it
block by block, so that memory does not grow with it. HIGGS.csv.gz is not needed after
that.
"""

import os

from absl import flags

from official.utils import app
from official.utils.data import download
from official.utils.data.download import RemoteFile
from official.utils.errors import UserError, writing
from official.utils.flags.definer import Definer

# Size and digest are those that TensorFlow Datasets lists.
REMOTE = RemoteFile(
    "HIGGS.csv.gz",
    (
        "https://archive.ics.uci.edu/ml/machine-learning-databases/00280/HIGGS.csv.gz",
        "http://archive.ics.uci.edu/ml/machine-learning-databases/00280/HIGGS.csv.gz",
    ),
    "ea302c18164d4e3d916a1e2e83a9a8d07069fa6ebc7771e4c0540d54e593b698",
    2_816_407_858,
)


def define_flags() -> flags.FlagValues:
    """Flags of the command."""
    flag_values = flags.FlagValues()
    define = Definer(flag_values, "data_download")
    define.string("data_dir", None, "Folder for HIGGS.npy.")
    define.string("raw_dir", None, "Folder of HIGGS.csv.gz. Default: --data_dir.")
    return flag_values


def run(flags_obj: flags.FlagValues) -> dict[str, float]:
    """Brings `HIGGS.npy` to a folder.

    Args:
        flags_obj: parsed flags.

    Returns:
        `rows` of the file.

    Raises:
        UserError: a flag is missing, the file cannot be fetched or is another one, or
            the folder takes no files.
    """
    if not flags_obj.data_dir:
        raise UserError("--data_dir is needed: the folder for HIGGS.npy")
    data_dir = os.path.expanduser(flags_obj.data_dir)
    rows = prepare(data_dir, os.path.expanduser(flags_obj.raw_dir or data_dir))
    return {"rows": rows}


def prepare(data_dir: str, raw_dir: str | None = None) -> int:
    """Brings `HIGGS.npy` to a folder, unless it is there.

    Args:
        data_dir: the folder.
        raw_dir: folder of `HIGGS.csv.gz`; None for the same.

    Returns:
        The number of its rows.

    Raises:
        UserError: see `run`.
    """
    from official.r1.boosted_trees import higgs

    download.require_local(data_dir)
    path = os.path.join(data_dir, higgs.NAME)
    if os.path.exists(path):
        rows = higgs.num_rows(path)
    else:
        with writing(data_dir):
            os.makedirs(data_dir, exist_ok=True)
        rows = higgs.convert(download.fetch(REMOTE, raw_dir or data_dir), path)
    print(f"{path}: {rows:,} rows", flush=True)
    return rows


def main() -> None:
    """The command line."""
    app.main(define_flags, run, (), __doc__.splitlines()[0])


if __name__ == "__main__":
    main()
