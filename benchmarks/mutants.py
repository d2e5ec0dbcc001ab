"""Small wrongs done to `identity/`, one at a time, and which of them the tests of identity notice.

Usage: python -m benchmarks.mutants [--seconds 600] [--seed 1] [--skip N] [--only NAME] [--json FILE]

A mutant is one changed operator, constant, condition or call. Each is tried in a forked process of its own, where the
changed text of the module stands in for the file: nothing is written into the checkout, and what all mutants need
is imported once. A mutant is *killed* when a test fails or does not end, else it *survives*: then a test is missing,
or the change changes nothing (docs/quality.md says which). Mutants are taken in an order drawn from the seed, until
the time is used up, so that a short run is a fair sample; `--skip` goes on where an earlier run ended.
"""

import argparse
import ast
import copy
import gc
import importlib.util
import json
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_S = 30
"""A mutant whose tests use more processor time loops: it counts as killed."""
_OPTIONS = ["-q", "-x", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:anyio", "-W", "ignore"]
"""Nobody reads how a test failed."""
_UNIT = "tests/unit/identity/"
_FOUND = _UNIT + "test_found_by_mutants.py"
_BULK = "tests/laws/test_identity_bulk.py"
_LAWS = [f"tests/laws/test_identity_{name}.py" for name in ("order", "stateful", "bulk", "function")]
_RULES = _UNIT + "test_identity_rules.py"
_TESTS = {
    "identity.normalize": [_FOUND, "tests/unit/identity_normalize"],
    "identity.quality": [_FOUND, _UNIT + "test_quality.py"],
    "identity.explain": [_FOUND, _UNIT + "test_identity_explain.py", "tests/laws/test_identity_explain.py"],
    "identity.bulk": [_FOUND, _BULK],
    "identity.packs": [_BULK, "tests/unit/pipelines/test_state.py"],
    "identity.rules": [_RULES, *_LAWS],
    "identity.limits": [_RULES, *_LAWS],
    "identity": [_FOUND, _UNIT + "test_identity_incremental.py", _UNIT + "test_identity_stories.py", *_LAWS],
}
"""Tests that answer for a module; the longest name that fits."""
_OPERATORS: dict[type[ast.AST], type[Any]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.FloorDiv: ast.Mult,
    ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
    ast.Continue: ast.Break, ast.Break: ast.Continue,
}  # fmt: skip
_CALLS = {"min": "max", "max": "min", "any": "all", "all": "any", "add": "discard"}
_COLUMNS = {"minimum": "maximum", "maximum": "minimum"}
"""Of numpy: functions that are passed on, or have methods."""


@dataclass(frozen=True)
class Mutant:
    """One change: the module, the line, the text before and after."""

    module: str
    line: int
    before: str
    after: str
    source: str
    """The whole module with the change."""


def mutants_of(module: str) -> Iterator[Mutant]:
    """Every mutant of a module, in the order of the text."""
    path = ROOT / Path(*module.split(".")).with_suffix(".py")
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    lines = text.splitlines()
    sure = {k.value for k in ast.walk(tree) if isinstance(k, ast.keyword) and k.arg == "strict"}
    for index, node in enumerate(ast.walk(tree)):
        if not hasattr(node, "lineno") or node in sure or not _is_code(node, lines):
            continue
        for choice in range(_choices(node)):
            changed = copy.deepcopy(tree)
            for at, twin in enumerate(ast.walk(changed)):
                if at == index:
                    before, after = _change(changed, twin, choice)
                    break
            yield Mutant(module, node.lineno, before, after, ast.unparse(ast.fix_missing_locations(changed)))


def _is_code(node: ast.AST, lines: Sequence[str]) -> bool:
    """False for what only types and asserts say."""
    line = lines[node.lineno - 1].strip()  # type: ignore[attr-defined]
    return not line.startswith(("assert ", "from ", "import ", "@", "class "))


def _choices(node: ast.AST) -> int:
    """In how many ways this node can be changed."""
    if isinstance(node, ast.Compare):
        return sum(type(op) in _OPERATORS for op in node.ops)
    if isinstance(node, ast.BoolOp):
        return 1
    if isinstance(node, ast.BinOp):
        # `X | None` in a signature is a type
        is_type = isinstance(node.op, ast.BitOr) and "None" in ast.unparse(node)
        return int(type(node.op) in _OPERATORS and not is_type)
    if isinstance(node, ast.UnaryOp):
        return int(isinstance(node.op, ast.Not | ast.Invert | ast.USub))
    if isinstance(node, ast.Constant):
        return int(isinstance(node.value, bool | int))
    if isinstance(node, ast.Call):
        return int(_name(node.func) in _CALLS or _is_where(node))
    if isinstance(node, ast.Attribute):
        return int(node.attr in _COLUMNS)
    if isinstance(node, ast.Expr):
        return int(isinstance(node.value, ast.Call))
    return int(isinstance(node, ast.Continue | ast.Break | ast.IfExp))


def _name(function: ast.expr) -> str:
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def _is_where(call: ast.Call) -> bool:
    """True for a choice between two columns."""
    return _name(call.func) == "where" and len(call.args) == 3


def _change(tree: ast.Module, node: ast.AST, choice: int) -> tuple[str, str]:
    """Change the node in place; its text before and after."""
    before = ast.unparse(node)
    if isinstance(node, ast.Compare):
        at = [n for n, op in enumerate(node.ops) if type(op) in _OPERATORS][choice]
        node.ops[at] = _OPERATORS[type(node.ops[at])]()
    elif isinstance(node, ast.BoolOp | ast.BinOp):
        node.op = _OPERATORS[type(node.op)]()
    elif isinstance(node, ast.Constant):
        assert isinstance(node.value, bool | int)
        node.value = not node.value if isinstance(node.value, bool) else node.value + 1
    elif isinstance(node, ast.Attribute):
        node.attr = _COLUMNS[node.attr]
    elif isinstance(node, ast.Call) and _is_where(node):
        node.args[1:] = node.args[:0:-1]
    elif isinstance(node, ast.Call):
        name = _CALLS[_name(node.func)]
        node.func = ast.Name(name, ast.Load()) if isinstance(node.func, ast.Name) else node.func
        if isinstance(node.func, ast.Attribute):
            node.func.attr = name
    elif isinstance(node, ast.IfExp):
        node.body, node.orelse = node.orelse, node.body
    elif isinstance(node, ast.UnaryOp):
        _replace(tree, node, node.operand)
        return before, ast.unparse(node.operand)
    else:
        other: ast.stmt = ast.Pass()
        if isinstance(node, ast.Continue | ast.Break):
            other = ast.Break() if isinstance(node, ast.Continue) else ast.Continue()
        _replace(tree, node, other)
        return before, ast.unparse(other)
    return before, ast.unparse(node)


def _replace(tree: ast.Module, old: ast.AST, new: ast.AST) -> None:
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, field, new)
            elif isinstance(value, list) and old in value:
                value[value.index(old)] = new


class _Instead:
    """Import hook: the module is made from the changed text."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Ours is the mutated module alone."""
        return importlib.util.spec_from_loader(name, self) if name == self._mutant.module else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """The usual kind of module."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Run the changed text."""
        exec(compile(self._mutant.source, self._mutant.module, "exec"), module.__dict__)


def is_killed(mutant: Mutant, tests: Sequence[str]) -> bool:
    """Whether the tests fail, or do not end, with this change; run in a process of its own."""
    child = os.fork()
    if child == 0:
        _run_tests(mutant, tests)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) != 0


def _run_tests(mutant: Mutant, tests: Sequence[str]) -> None:
    """Never returns: the exit status is pytest's."""
    import pytest

    resource.setrlimit(resource.RLIMIT_CPU, (PATIENCE_S, PATIENCE_S))
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    status = 1
    with suppress(BaseException):
        sys.meta_path.insert(0, _Instead(mutant))
        status = int(pytest.main([*_OPTIONS, *tests]))
    os._exit(status)


def _prepare() -> None:
    """Load what every child needs, and nothing of identity: children import that themselves."""
    import httpx  # noqa: F401
    import networkx  # noqa: F401
    import pandas  # noqa: F401
    import phonenumbers  # noqa: F401
    import pyarrow.compute  # noqa: F401
    import pytest  # noqa: F401
    import sqlglot  # noqa: F401
    import xdist.remote  # noqa: F401
    from hypothesis import Phase, settings

    import store.client
    import store.migrate  # noqa: F401

    # shrinking a failure to its smallest form is for people
    phases = (Phase.explicit, Phase.generate)
    settings.register_profile("mutants", phases=phases, derandomize=True, database=None)
    settings.load_profile("mutants")
    loaded = [name for name in sys.modules if name.split(".")[0] == "identity"]
    assert not loaded, f"loaded too early: {loaded}"
    gc.freeze()  # children need not look through it


def _modules(only: str) -> list[str]:
    files = sorted((ROOT / "identity").rglob("*.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files]
    return [name for name in names if not name.endswith("__init__") and name.startswith(only)]


def main() -> int:
    """Run, print survivors and counts; 1 when the tests fail without any change."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--skip", type=int, default=0, help="mutants tried before")
    parser.add_argument("--only", default="identity", help="module, or package, to change")
    parser.add_argument("--json", type=Path, help="write what became of each mutant")
    given = parser.parse_args()
    os.chdir(ROOT)
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = tempfile.mkdtemp(prefix="mutants-")
    _prepare()
    every = [mutant for module in _modules(given.only) for mutant in mutants_of(module)]
    random.Random(given.seed).shuffle(every)
    tests = {m.module: _TESTS[max((n for n in _TESTS if m.module.startswith(n)), key=len)] for m in every}
    for module in sorted(tests):
        source = (ROOT / Path(*module.split(".")).with_suffix(".py")).read_text(encoding="utf-8")
        if is_killed(Mutant(module, 0, "", "", source), tests[module]):
            print(f"{module}: its tests fail without any change: {' '.join(tests[module])}")
            return 1
    end = time.monotonic() + given.seconds
    survivors: list[Mutant] = []
    tried = 0
    for mutant in every[given.skip :]:
        if time.monotonic() > end:
            break
        tried += 1
        if not is_killed(mutant, tests[mutant.module]):
            survivors.append(mutant)
            print(f"survived  {mutant.module}:{mutant.line}  {mutant.before}  ->  {mutant.after}", flush=True)
    print(
        f"{tried} of {len(every)} mutants tried, {tried - len(survivors)} killed, {len(survivors)} survived"
    )
    if given.json:
        found = [{k: v for k, v in asdict(m).items() if k != "source"} for m in survivors]
        given.json.write_text(json.dumps({"all": len(every), "tried": tried, "survivors": found}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
