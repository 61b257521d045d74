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
        `optimizer/momentums/conv1/kernel`.
    """
    named = {f"model/{path}": variable for path, variable in _of_layer(model, "")}
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
    """All layers below `model` by structural path, such as `blocks/3/norm`."""
    return dict(_layers_below(model, ""))


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
    yield from _unique((f"{path}{variable.name}", variable) for variable in own)


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
        elif re.fullmatch(rf"{kind}(_\d+)?", child.name):  # An automatic name.
            name = f"{kind}_{rank[kind]}" if rank[kind] else kind
        else:
            name = child.name
        named.append((name, child))
    return list(_unique(named))


def _attributes(owner) -> Iterator[tuple[str, object]]:
    """Attributes and the members of attributes that are lists, tuples or dicts.

    Left out are those in which Keras keeps its own books.
    """
    books = ("_layers", "_operations", "_functional", "_operations_by_depth", "_nodes")
    for name, value in vars(owner).items():
        if name in books or name.startswith("__"):
            continue
        name = name.lstrip("_")
        if isinstance(value, Mapping):
            yield from ((f"{name}/{key}", member) for key, member in value.items())
        elif isinstance(value, (list, tuple)):
            yield from ((f"{name}/{i}", member) for i, member in enumerate(value))
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
                places[id(slot)] = f"{name}/{paths[id(variable)]}"
    for variable in optimizer.variables:
        assert id(variable) in places, f"{variable.path} is no attribute"
        yield places[id(variable)], variable


def _unique(pairs) -> Iterator[tuple[str, object]]:
    seen: dict[str, int] = {}
    for name, value in pairs:
        seen[name] = seen.get(name, 0) + 1
        yield (name if seen[name] == 1 else f"{name}_{seen[name] - 1}"), value


def _snake_case(name: str) -> str:
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _check_complete(named, variables) -> None:
    missing = {id(v) for v in variables} - {id(v) for v in named.values()}
    assert not missing, [v.path for v in variables if id(v) in missing]
