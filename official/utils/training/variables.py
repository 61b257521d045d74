"""Names of variables by their place in the model, the same however often it is built.

Keras numbers automatic names over the whole process (`dense_7/kernel`), so that the
second model of a notebook would not find its variables in a checkpoint of the first.
"""

import re
from collections.abc import Iterator, Mapping

import keras


def named_variables(model: keras.Model, optimizer=None) -> dict[str, keras.Variable]:
    """All variables of a model and of its optimizer by structural name.

    Args:
        model: a built network.
        optimizer: its built optimizer, or None.

    Returns:
        Variables by name, such as `model/conv1/kernel`, `model/blocks/3/norm/gamma` or
        `optimizer/momentums/conv1/kernel`. One that stands in several places (a shared
        layer) has the name of the first.
    """
    named = _by_first_name(_of_layer(model, "model/"))
    _check_complete(named, model.variables)
    if optimizer is None:
        return named
    paths = {id(variable): name[len("model/") :] for name, variable in named.items()}
    slots = {
        f"optimizer/{path}": variable
        for path, variable in _of_optimizer(optimizer, paths)
    }
    _check_complete(slots, optimizer.variables)
    return named | slots


def named_layers(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """All layers below `model` by structural path, such as `blocks/3/norm`.

    A layer that stands in several places has the path of the first.
    """
    return _by_first_name(_layers_below(model, ""))


def _layers_below(layer, path) -> Iterator[tuple[str, keras.layers.Layer]]:
    for name, child in _children(layer):
        child_path = f"{path}/{name}" if path else name
        yield child_path, child
        yield from _layers_below(child, child_path)


def _of_layer(layer, path) -> Iterator[tuple[str, keras.Variable]]:
    below = set()
    for name, child in _children(layer):
        below.update(id(variable) for variable in child.variables)
        yield from _of_layer(child, f"{path}{name}/")
    own = [variable for variable in layer.variables if id(variable) not in below]
    attributes = {id(value): name for name, value in _attributes(layer)}
    names = []
    for variable in own:
        name = variable.name
        if _is_automatic(name, "variable"):  # add_weight() without a name.
            name = attributes.get(id(variable), "variable")
        names.append(f"{path}{name}")
    yield from _unique(zip(names, own, strict=True))


def _children(layer) -> list[tuple[str, keras.layers.Layer]]:
    """The layers directly below, by attribute, by given name, or by kind and rank."""
    children = layer._flatten_layers(include_self=False, recursive=False)
    attributes = {id(value): name for name, value in _attributes(layer)}
    rank: dict[str, int] = {}
    named = []
    for child in children:
        kind = _snake_case(type(child).__name__)
        rank[kind] = rank.get(kind, -1) + 1
        if id(child) in attributes:
            name = attributes[id(child)]
        elif _is_automatic(child.name, kind):
            name = f"{kind}_{rank[kind]}" if rank[kind] else kind
        else:
            name = child.name
        named.append((name, child))
    return list(_unique(named))


def _attributes(owner) -> Iterator[tuple[str, object]]:
    """Attributes, and what stands in those that are lists, tuples or dicts.

    Left out are those in which Keras and TensorFlow keep their books.
    """
    for name, value in vars(owner).items():
        if name not in _BOOKS and not name.startswith(("__", "_self_")):
            yield from _members(name.lstrip("_"), value)


# What belongs to a layer, whatever attribute it stands in.
_BOOKS = (
    "_layers",
    "_functional",
    "_nodes",
    "_nodes_by_depth",
    "_operations",
    "_operations_by_depth",
    "_seed_generators",
    "_tracked",
    "_trainable_variables",
    "_non_trainable_variables",
)


def _members(name, value) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for key, member in value.items():
            yield from _members(f"{name}/{key}", member)
    elif isinstance(value, (list, tuple)):
        for i, member in enumerate(value):
            yield from _members(f"{name}/{i}", member)
    else:
        yield name, value


def _of_optimizer(optimizer, paths) -> Iterator[tuple[str, keras.Variable]]:
    """Slots as `<attribute>/<path of the weight>`, the rest by attribute."""
    trainable = optimizer._trainable_variables
    places = {}
    for name, value in vars(optimizer).items():
        name = name.lstrip("_")
        if name in ("variables", "trainable_variables"):
            continue
        if isinstance(value, keras.Variable):
            places[id(value)] = name
        elif isinstance(value, (list, tuple)) and len(value) == len(trainable):
            for slot, variable in zip(value, trainable, strict=True):
                if isinstance(slot, keras.Variable):
                    places[id(slot)] = f"{name}/{paths[id(variable)]}"
    for attribute, inner in vars(optimizer).items():
        if isinstance(inner, keras.optimizers.Optimizer):
            for name, variable in _of_optimizer(inner, paths):
                # What both have, as the count of steps, keeps the outer's name.
                places.setdefault(id(variable), f"{attribute.lstrip('_')}/{name}")
    for variable in optimizer.variables:
        assert id(variable) in places, f"{variable.path} is no attribute"
        yield places[id(variable)], variable


def _unique(pairs) -> Iterator[tuple[str, object]]:
    """The pairs, with `_1`, `_2`, ... after names that are taken."""
    taken = set()
    for name, value in pairs:
        free, rank = name, 0
        while free in taken:
            rank += 1
            free = f"{name}_{rank}"
        taken.add(free)
        yield free, value


def _by_first_name(pairs) -> dict:
    """A dict that holds each value once, under the first of its names."""
    seen = set()
    named = {}
    for name, value in pairs:
        if id(value) not in seen:
            assert name not in named, name
            seen.add(id(value))
            named[name] = value
    return named


def _is_automatic(name: str, kind: str) -> bool:
    """Whether Keras made up `name` for an object of `kind`."""
    return re.fullmatch(rf"{re.escape(kind)}(_\d+)?", name) is not None


def _snake_case(name: str) -> str:
    """How Keras derives automatic names from those of classes."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _check_complete(named, variables) -> None:
    missing = {id(v) for v in variables} - {id(v) for v in named.values()}
    assert not missing, [v.path for v in variables if id(v) in missing]
