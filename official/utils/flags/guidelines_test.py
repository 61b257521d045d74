import pathlib
import re

from official.utils.flags import core as flags_core
from official.utils.flags.settings import FALLBACKS

# | `name` | `short` or nothing | default | meaning |
_ROW = re.compile(r"^\| `(\w+)` \| (?:`(\w+)`)? ?\| ([^|]+) \| [^|]+ \|$", re.MULTILINE)


def _documented() -> dict[str, dict[str, tuple]]:
    """Short name and default of each flag, by the set under whose heading it stands."""
    text = pathlib.Path(__file__).with_name("guidelines.md").read_text()
    text = text.partition("\n## The shared flags\n")[2].partition("\n## ")[0]
    sections = re.split(r"^### (\w+)$", text, flags=re.MULTILINE)[1:]
    found = {}
    for set_name, section in zip(sections[::2], sections[1::2], strict=True):
        rows = _ROW.findall(section)
        found[set_name] = {name: (short, default) for name, short, default in rows}
        assert len(found[set_name]) == section.count("\n| `"), set_name
    return found


def _default(flag) -> str:
    if flag.name in FALLBACKS:
        return f"recipe, else {FALLBACKS[flag.name]}"
    if flag.default is None:
        return "unset"
    return flag.default_as_str.strip("'")


def test_the_table_is_that_of_the_shared_flags():
    embedded = "the embedded set"
    flag_values = flags_core.shared_flags([embedded], default_dataset=embedded)
    defined = {
        set_name: {
            name: (flag_values[name].short_name or "", _default(flag_values[name]))
            for name in names
        }
        for set_name, names in flags_core.flags_by_set(flag_values).items()
    }
    assert _documented() == defined
