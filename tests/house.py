"""The rules of the house: floors, a core without a world, exact arithmetic, agreed order, names, what lies where.

Each rule is a function from sources, names or paths to findings, one line each. Runs nothing that it reads.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatch
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

PACKAGE: Final = "leither_lite"

# From the ground upward. A room knows lines below its own, and its own inside; rooms on one line do not know each
# other. Where one room of a floor stands on another, it has a line of its own.
LINES: Final = (
    (0, ("",)),
    (1, ("errors", "limits")),
    (1, ("effects",)),
    (2, ("address", "board", "codec", "identity")),
    (2, ("header",)),
    (3, ("dht", "pulse", "store", "tree", "wire")),
    (4, ("ledger", "mimei")),
    (5, ("audit", "contract", "dispute", "election", "organization")),
    (6, ("node",)),
    (7, ("edge", "sim")),
    (8, ("cli",)),
    (8, ("__main__",)),
)
LINE_OF: Final = {room: line for line, (_, rooms) in enumerate(LINES) for room in rooms}
FLOOR_OF: Final = {room: floor for floor, rooms in LINES for room in rooms}
CORE_FLOORS: Final = range(7)

# The core has no socket, file, clock, random source or log; what it may import is what is known to have none.
CORE_STANDARD: Final = frozenset(
    "__future__ abc array base64 binascii bisect collections collections.abc contextlib copy dataclasses enum "
    "functools hashlib heapq hmac itertools json operator re string struct types typing".split()
)
CORE_THIRD_PARTY: Final = frozenset({"cbor2", "nacl.bindings", "nacl.exceptions"})
CORE_BUILTINS_REFUSED: Final = frozenset({"open", "print", "input", "eval", "exec", "compile", "__import__", "hash"})

TOP_LEVEL: Final = frozenset(
    ".ci .gitignore LICENSE README.md boards docs leither_lite pyproject.toml ruff.toml setup.cfg systemd tests "
    "tools".split()
)
LINES_MAX: Final = 400
WORDS_REFUSED: Final = frozenset({"common", "data", "helper", "info", "manager", "misc", "util"})
# Directories of somebody's machine, and indexes of packages: neither belongs to the project.
PLACES_REFUSED: Final = re.compile(
    r"(?<![\w./$}-])/(?:home|opt|root|tmp|work|Users)/[\w.]"
    r"|\b(?:pypi|pythonhosted|npmjs|crates|golang)\.(?:org|com|io)\b"
    r"|\b(?:deb|ftp|security)\.debian\.org\b"
)

# What takes the items of a set in any order and gives the same.
ORDERLESS: Final = frozenset({"all", "any", "frozenset", "len", "max", "min", "set", "sorted", "sum"})


def room_of(module: str) -> str:
    """The room of a dotted module name: "tree" for "leither_lite.tree.node", "" for the package itself."""
    return module.partition(".")[2].partition(".")[0]


def is_core(module: str) -> bool:
    """True for modules of the floors that do no I/O. A room that has no floor counts as core."""
    return FLOOR_OF.get(room_of(module), 0) in CORE_FLOORS


def read_modules(package: Path) -> dict[str, str]:
    """Dotted name -> source of every module under a package directory."""
    modules = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)] = path.read_text()
    return modules


def imports(module: str, source: str, modules: Iterable[str], *, is_package: bool = False) -> Iterator[str]:
    """Dotted names of all that a module imports, wherever in it: modules where they are ours, else as written."""
    known = frozenset(modules)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                here = module.split(".") if is_package else module.split(".")[:-1]
                base = ".".join([*here[: len(here) - node.level + 1], *filter(None, [node.module])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield full if full in known or full in CORE_THIRD_PARTY or full in CORE_STANDARD else base


def graph(modules: Mapping[str, str]) -> dict[str, list[str]]:
    """Module -> the modules of the package that it imports."""
    packages = {name.rpartition(".")[0] for name in modules}
    return {
        name: [
            target
            for target in dict.fromkeys(imports(name, source, modules, is_package=name in packages))
            if target.split(".")[0] == PACKAGE
        ]
        for name, source in modules.items()
    }


def floor_findings(modules: Mapping[str, str]) -> list[str]:
    """Modules without a floor, imports that go up or sideways, and circles."""
    found = [f"{name} has no floor" for name in modules if room_of(name) not in LINE_OF]
    edges = graph(modules)
    for name, targets in edges.items():
        here = room_of(name)
        for target in targets:
            there = room_of(target)
            if target not in modules:
                found.append(f"{name} imports {target}, which does not exist")
            elif here in LINE_OF and there in LINE_OF and here != there and LINE_OF[there] >= LINE_OF[here]:
                found.append(f"{name} imports {target}, which is not below it")
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        found.append("a circle: " + " -> ".join(error.args[1]))
    return found


def world_findings(module: str, source: str) -> list[str]:
    """Imports and builtins by which a core module would touch the world."""
    found = []
    for name in imports(module, source, ()):
        top = name.split(".")[0]
        allowed = CORE_STANDARD if top in sys.stdlib_module_names else CORE_THIRD_PARTY
        if top != PACKAGE and name not in allowed:
            found.append(f"{module} imports {name}")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name) and node.id in CORE_BUILTINS_REFUSED:
            found.append(f"{module}:{node.lineno} uses {node.id}")
    return found


def assert_findings(module: str, source: str) -> list[str]:
    """Assertions: they vanish under -O, so nothing may hang on them."""
    return [f"{module}:{node.lineno} asserts" for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Assert)]


def inexact_findings(module: str, source: str) -> list[str]:
    """Float and complex literals, calls of float and round, and true division."""
    found = []
    for node in ast.walk(ast.parse(source)):
        literal = isinstance(node, ast.Constant) and isinstance(node.value, float | complex)
        division = isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div)
        call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"float", "round"}
        if literal or division or call:
            found.append(f"{module}:{getattr(node, 'lineno', 0)} computes inexactly")
    return found


class UnorderedUse(ast.NodeVisitor):
    """Finds where the order of a set would leak: loops, comprehensions, and what makes a sequence of one.

    Knows a set by its display, by calls and operators that make one, and by names and attributes that are assigned one
    or annotated as one anywhere in the module.
    """

    def __init__(self, tree: ast.Module) -> None:
        self.named: set[str] = set()
        self.lines: list[int] = []
        self.orderless: set[int] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.AnnAssign | ast.arg) and node.annotation is not None:
                target = node.arg if isinstance(node, ast.arg) else self.name(node.target)
                if re.match(r"(Final\[|ClassVar\[)*(set|frozenset)\b", ast.unparse(node.annotation)):
                    self.named.add(target)
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None and self.is_set(node.value):
                self.named.update(map(self.name, node.targets if isinstance(node, ast.Assign) else [node.target]))
        self.visit(tree)

    @staticmethod
    def name(node: ast.expr) -> str:
        """What a name or attribute is known by here; nothing else is known."""
        return node.id if isinstance(node, ast.Name) else f".{node.attr}" if isinstance(node, ast.Attribute) else ""

    def is_set(self, node: ast.expr) -> bool:
        """True if an expression surely gives a set."""
        match node:
            case ast.Set() | ast.SetComp() | ast.Call(func=ast.Name(id="set" | "frozenset")):
                return True
            case ast.Call(func=ast.Attribute(value=value)) if not isinstance(value, ast.Constant):
                made = {"copy", "difference", "intersection", "symmetric_difference", "union"}
                return isinstance(node.func, ast.Attribute) and node.func.attr in made and self.is_set(value)
            case ast.BinOp(left=left, op=ast.BitAnd() | ast.BitOr() | ast.BitXor() | ast.Sub(), right=right):
                return self.is_set(left) or self.is_set(right)
            case ast.IfExp(body=body, orelse=orelse):
                return self.is_set(body) or self.is_set(orelse)
        return self.name(node) in self.named - {""}

    def iterates(self, node: ast.expr) -> None:
        """Notes the line where the items of a set are taken in the set's own order."""
        if self.is_set(node):
            self.lines.append(node.lineno)

    def visit_For(self, node: ast.For) -> None:
        """A loop."""
        self.iterates(node.iter)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        """A part of a comprehension."""
        if id(node) not in self.orderless:
            self.iterates(node.iter)
        self.generic_visit(node)

    def visit_SetComp(self, node: ast.SetComp) -> None:
        """A set made from a set has lost nothing."""
        self.orderless.update(map(id, node.generators))
        self.generic_visit(node)

    def visit_Starred(self, node: ast.Starred) -> None:
        """`*items`."""
        self.iterates(node.value)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        """`list(items)`, `b"".join(items)`, `items.pop()`; what asks for no order is let through."""
        function = node.func
        if isinstance(function, ast.Name) and function.id in ORDERLESS and node.args:
            if isinstance(node.args[0], ast.GeneratorExp):
                self.orderless.update(map(id, node.args[0].generators))
        elif isinstance(function, ast.Name) and function.id in {"enumerate", "iter", "list", "map", "tuple", "zip"}:
            for argument in node.args:
                self.iterates(argument)
        elif isinstance(function, ast.Attribute) and function.attr in {"extend", "join"} and node.args:
            self.iterates(node.args[0])
        elif isinstance(function, ast.Attribute) and function.attr == "pop" and not node.args:
            self.iterates(function.value)
        self.generic_visit(node)


def order_findings(module: str, source: str) -> list[str]:
    """Places where what nodes agree on would hang on the order of a set."""
    return [f"{module}:{line} takes a set in its own order" for line in UnorderedUse(ast.parse(source)).lines]


def long_findings(name: str, source: str) -> list[str]:
    """Files that have outgrown one idea."""
    count = len(source.splitlines())
    return [f"{name} has {count} lines"] if count > LINES_MAX else []


def name_findings(path: str) -> list[str]:
    """Words in a path that say nothing."""
    words = {word.removesuffix("s") for word in re.split(r"[/_.-]", path)}
    return [f"{path} is named {word}" for word in sorted(words & WORDS_REFUSED)]


def place_findings(name: str, text: str) -> list[str]:
    """Paths of one machine, and hosts of package indexes."""
    lines = enumerate(text.splitlines(), 1)
    return [f"{name}:{number} {found[0]}" for number, line in lines for found in PLACES_REFUSED.finditer(line)]


def top_findings(paths: Iterable[str]) -> list[str]:
    """What lies at the top and is not the house's."""
    return sorted({path.split("/")[0] for path in paths} - TOP_LEVEL)


def unpacked_findings(paths: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """What a wheel would lack: directories without an __init__.py, files that are no module and in no pattern."""
    inside = [path for path in paths if path.startswith(f"{PACKAGE}/")]
    bare = {path.rpartition("/")[0] for path in inside if path.endswith(".py")} - {
        path.rpartition("/")[0] for path in inside if path.endswith("/__init__.py")
    }
    lost = {
        path
        for path in inside
        if not path.endswith(".py") and not any(fnmatch(path, f"{PACKAGE}/{pattern}") for pattern in patterns)
    }
    return sorted(bare | lost)
