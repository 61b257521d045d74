"""The tables that the census main trains on.

name         training  validation    test  source
census_like     27000        3000   10000  made from a seed
census          29305        3256   16281  adult.data, adult.test in `--data_dir`
csv               90%         10%     all  `--train_file`, `--eval_file`
"""

import dataclasses

from official.r1.wide_deep import census, census_like, csv_table, tables
from official.r1.wide_deep.columns import Columns
from official.r1.wide_deep.tables import Table
from official.utils.flags.settings import Settings


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in its three parts, which share no row.

    Attributes:
        source: where it is from, in words.
        columns: its columns and their use.
        label_names: of the labels 0 and 1.
        train: what is trained on.
        validation: what choices are made on; drawn from the training part by the seed.
        test: what is reported.
    """

    source: str
    columns: Columns
    label_names: tuple[str, str]
    train: Table
    validation: Table
    test: Table


def load(settings: Settings) -> Dataset:
    """Loads the data set that the flags name.

    Raises:
        UserError: a file is missing or is not what it should be.
    """
    label_names = census.LABEL_NAMES
    columns = census.COLUMNS_2019 if settings.columns == "2019" else census.COLUMNS
    if settings.dataset == "csv":
        columns, train, test = csv_table.load(settings)
        label_names = ("0", "1")
        source, name = f"read from {settings.train_file}", settings.train_file
    elif settings.dataset == "census":
        train, test = census.load(settings.data_dir, settings.download)
        source = f"read from {settings.data_dir}"
        name = f"--data_dir={settings.data_dir}"
    else:
        train, test = census_like.load()
        source, name = "the embedded set of made-up people", "census_like"
    kept, held_out = tables.hold_out(train, settings.seed, name)
    return Dataset(source, columns, label_names, kept, held_out, test)
