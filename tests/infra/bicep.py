"""A Bicep file as its declarations, read by tree-sitter's grammar of the language.

The rule: nothing is evaluated. A literal is its Python value, an object a dict, an array a list; every other expression
stays an `Expression`, its text with the nodes under it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tree_sitter_bicep
from tree_sitter import Language, Node, Parser

_PARSER = Parser(Language(tree_sitter_bicep.language()))


@dataclass(frozen=True, slots=True)
class Expression:
    """What is not a literal."""

    text: str
    node: Node = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Declaration:
    """A resource or a module: what is declared, and its body."""

    name: str
    of: str
    """The resource's type and API version, or the module's path."""
    body: dict[str, Any]
    node: Node
    existing: bool = False
    conditional: bool = False
    """Whether `if (…)` stands before the body."""


@dataclass(slots=True)
class File:
    """A file's declarations, by name."""

    path: Path
    root: Node
    parameters: dict[str, Any] = field(default_factory=dict)
    """Name → default; REQUIRED where there is none."""
    types: dict[str, str] = field(default_factory=dict)
    """Parameter → its type."""
    variables: dict[str, Any] = field(default_factory=dict)
    resources: dict[str, Declaration] = field(default_factory=dict)
    modules: dict[str, Declaration] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)

    @property
    def declared(self) -> set[str]:
        """All that an expression of the file may name."""
        return {*self.parameters, *self.variables, *self.resources, *self.modules}


REQUIRED = object()


def read(path: Path) -> File:
    """The file's declarations; what is wrong in its syntax is found by `faults`."""
    file = File(path, _PARSER.parse(path.read_bytes()).root_node)
    for node in file.root.named_children:
        _declare(file, node)
    return file


def faults(file: File) -> list[str]:
    """Where the grammar cannot go on, as `line: text`."""
    return [f"{n.start_point.row + 1}: {_text(n)[:60]!r}" for n in walk(file.root) if n.is_error or n.is_missing]


def walk(node: Node) -> Iterator[Node]:
    """A node and all below it."""
    yield node
    for child in node.children:
        yield from walk(child)


def names(node: Node) -> set[str]:
    """What the expressions below a node name, apart from the names of functions and properties, and of loops in it."""
    own = {_text(n.named_children[0]) for n in walk(node) if n.type == "for_statement"}
    return {_text(n) for n in walk(node) if n.type == "identifier" and _is_use(n)} - own


def functions(node: Node) -> set[str]:
    """The functions called below a node."""
    return {_text(n.named_children[0]) for n in walk(node) if n.type == "call_expression"}


def _declare(file: File, node: Node) -> None:
    children = [c for c in node.named_children if c.type not in ("comment", "decorators", "decorator")]
    match node.type:
        case "parameter_declaration":
            name = _text(children[0])
            types = [c for c in children if c.type == "type"]
            values = [c for c in children[1:] if c.type != "type"]
            file.types[name] = _text(types[0]) if types else ""
            file.parameters[name] = value(values[0]) if values else REQUIRED
        case "variable_declaration":
            file.variables[_text(children[0])] = value(children[-1])
        case "output_declaration":
            file.outputs[_text(children[0])] = value(children[-1])
        case "resource_declaration":
            file.resources[_text(children[0])] = _body(node, children)
        case "module_declaration":
            file.modules[_text(children[0])] = _body(node, children)


def _body(node: Node, children: list[Node]) -> Declaration:
    name, of = (_text(child) for child in children[:2])
    bodies = [n for n in walk(node) if n.type == "object"]
    kinds = {n.type for n in walk(node)}
    tokens = {c.type for c in node.children}
    return Declaration(
        name, of.strip("'"), value(bodies[0]), node, existing="existing" in tokens, conditional="if_statement" in kinds
    )


def value(node: Node) -> Any:
    """The literal that a node is, or its Expression."""
    match node.type:
        case "string" if not any(n.type == "interpolation" for n in node.named_children):
            return _text(node)[1:-1]
        case "number":
            return int(_text(node))
        case "boolean":
            return _text(node) == "true"
        case "array":
            return [value(child) for child in node.named_children if child.type != "comment"]
        case "object":
            pairs = [c.named_children for c in node.named_children if c.type == "object_property"]
            return {_text(pair[0]).strip("'"): value(pair[-1]) for pair in pairs}
        case _:
            return Expression(_text(node), node)


def _is_use(node: Node) -> bool:
    parent = node.parent
    assert parent is not None
    is_first = parent.named_children[0] == node
    return not (
        (parent.type == "object_property" and is_first)
        or (parent.type in ("call_expression", "output_declaration") and is_first)
        or parent.type == "type"
    )


def _text(node: Node) -> str:
    assert node.text is not None
    return node.text.decode()
