"""Keras finds a saved layer by `package>class` alone: two of a name are one."""

import ast
import collections
import pathlib

import official

ROOT = pathlib.Path(official.__file__).parent


def _registered(tree: ast.AST):
    """The name under which each class of a module is registered."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef):
            continue
        for decorator in node.decorator_list:
            if "register_keras_serializable" in ast.unparse(decorator):
                (package,) = (
                    keyword.value.value
                    for keyword in decorator.keywords
                    if keyword.arg == "package"
                )
                yield f"{package}>{node.name}"


def test_no_two_classes_are_registered_under_one_name():
    classes = collections.defaultdict(list)
    for path in ROOT.rglob("*.py"):
        for name in _registered(ast.parse(path.read_text(encoding="utf-8"))):
            classes[name].append(str(path.relative_to(ROOT)))
    assert len(classes) >= 20
    assert {name: paths for name, paths in classes.items() if len(paths) > 1} == {}
