"""The flags that all models share: what a main and its callers need of them.

Each main makes its own `absl.flags.FlagValues`, so that several mains live in one
process (a notebook, a test). guidelines.md beside this file says how a model uses them.
"""

from official.utils.flags.command_line import make_flags, parse
from official.utils.flags.sets import (
    define_base,
    define_benchmark,
    define_checkpoints,
    define_distribution,
    define_performance,
    flags_by_set,
    shared_flags,
)
from official.utils.flags.settings import Settings, resolve
from official.utils.flags.training_set import define_training

__all__ = [
    "Settings",
    "define_base",
    "define_benchmark",
    "define_checkpoints",
    "define_distribution",
    "define_performance",
    "define_training",
    "flags_by_set",
    "make_flags",
    "parse",
    "resolve",
    "shared_flags",
]
