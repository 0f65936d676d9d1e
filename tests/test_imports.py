"""Who may import whom: no circles, no stage another stage, no core package a stage or what plans the workflow."""

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PACKAGE = "workflow_scripts"
ROOT = Path(__file__).parents[1]
CORE = {"settings", "artifacts", "speech_lm", "measures", "statistics", "scoring"}
MAY_IMPORT = {
    # The tables of figures and of the paper's tables say which files there are.
    "planning": {f"{PACKAGE}.report.table"},
    "plan": {"planning", f"{PACKAGE}.figures.table"},
    "step": {"planning"},
    "reruns": {"planning"},
    "check_model": {"planning"},
    "cost": {"planning", "plan"},
    "api": {"check_model", "alignment", "correlation", "figures", "similarity", "speech"},
}
"""What others than stages import besides core packages: packages, or modules by their full names."""


def imports(tree: ast.Module) -> Iterator[str]:
    """What a module imports, in functions too. Its program may bind anything, as the rules do, so it does not count."""
    body = [
        node for node in tree.body if not (isinstance(node, ast.If) and ast.unparse(node.test).startswith("__name__"))
    ]
    for node in (part for one in body for part in ast.walk(one)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def read_arrows(root: Path) -> dict[str, set[str]]:
    """Each module of the package with the modules of it that it imports."""
    modules = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        modules[name] = {one for one in imports(ast.parse(path.read_text())) if one.split(".")[0] == PACKAGE}

    def module(name: str) -> str:
        return name if name in modules else module(name.rpartition(".")[0])

    return {name: {module(one) for one in found} - {name} for name, found in modules.items()}


def wrong_arrows(arrows: Mapping[str, set[str]]) -> list[str]:
    """`module -> module` of each import that must not be, and a circle if there is one."""
    wrong = []
    for name, found in sorted(arrows.items()):
        own = name.split(".")[1] if "." in name else ""
        allowed = {own, *CORE, *MAY_IMPORT.get(own, ())}
        wrong += [f"{name} -> {one}" for one in sorted(found) if not {one, one.split(".")[1]} & allowed]
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        wrong.append(" -> ".join(reversed(error.args[1])))
    return wrong


def test_imports_follow_the_layout_and_make_no_circle():
    assert wrong_arrows(read_arrows(ROOT)) == []


def test_a_wrong_import_is_named_wherever_it_stands(tmp_path):
    texts = {
        "measures/__init__.py": "",
        "measures/cka.py": "def f():\n    from workflow_scripts import plan\n",
        "measures/null.py": "from workflow_scripts.measures import layers\n",
        "measures/layers.py": "import workflow_scripts.measures.null\n",
        "figures/draw.py": "from workflow_scripts.measures.cka import f\nfrom workflow_scripts.report.page import g\n",
        "report/page.py": 'if __name__ == "__main__":\n    from workflow_scripts.figures.draw import draw\n',
        "plan.py": "import workflow_scripts.artifacts.files\n",
        "artifacts/files.py": "",
    }
    for name, text in texts.items():
        (tmp_path / PACKAGE / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / PACKAGE / name).write_text(text)
    *wrong, circle = [one.replace(f"{PACKAGE}.", "") for one in wrong_arrows(read_arrows(tmp_path))]
    assert wrong == ["figures.draw -> report.page", "measures.cka -> plan"]
    assert sorted(circle.split(" -> ")[1:]) == ["measures.layers", "measures.null"]
