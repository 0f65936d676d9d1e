"""What the digest of a step sees and what it does not, on small packages."""

import pytest

from workflow_scripts.planning.code import Code, CodeError
from workflow_scripts.planning.record import CodeRecord, changes
from workflow_scripts.planning.sources import Sources

MAIN = 'if __name__ == "__main__":\n    run(snakemake)\n'


@pytest.fixture
def package(tmp_path):
    """A function that makes a package of files and gives the `Step` of stage/step.py, whose `run` is the text given."""
    count = iter(range(100))

    def step(run, files=None, keys=None, functions=()):
        root = tmp_path / f"{next(count)}"
        for path, text in {"stage/step.py": f"{run}\n\n{MAIN}", **(files or {})}.items():
            file = root / "workflow_scripts" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return Code(Sources(root)).step("stage/step.py", keys, functions)

    return step


SAME = {
    "comment": ("def run(s):\n    return s + 1", "# more\ndef run(s):\n    return s + 1  # one more"),
    "docstring": ("def run(s):\n    return s + 1", 'def run(s):\n    """Add one."""\n    return s + 1'),
    "text below a constant": ("N = 1\ndef run(s):\n    return N", 'N = 1\n"""One."""\ndef run(s):\n    return N'),
    "type hints": (
        "def run(s, n=1):\n    m = s\n    return m",
        "def run(s: int, n: int = 1) -> int:\n    m: int = s\n    return m",
    ),
    "declared without a value": ("def run(s):\n    return s", "def run(s):\n    m: int\n    return s"),
    "line breaks and quotes": (
        'def run(s):\n    return [s, "a"]',
        "def run(s):\n    return [\n        s,\n        'a',\n    ]",
    ),
    "digits grouped": ("def run(s):\n    return 1000", "def run(s):\n    return 1_000"),
    "local variable": ("def run(s):\n    a = s\n    return a", "def run(s):\n    b = s\n    return b"),
    "variable of a comprehension": ("def run(s):\n    return [a for a in s]", "def run(s):\n    return [b for b in s]"),
    "parameter of a lambda": ("def run(s):\n    return lambda a: a", "def run(s):\n    return lambda b: b"),
    "name of an error": (
        "def run(s):\n    try:\n        s()\n    except OSError as a:\n        print(a)",
        "def run(s):\n    try:\n        s()\n    except OSError as b:\n        print(b)",
    ),
    "function inside": (
        "def run(s):\n    def a():\n        return s\n    return a()",
        "def run(s):\n    def b():\n        return s\n    return b()",
    ),
    "constant": ("N = 1\ndef run(s):\n    return N", "M = 1\ndef run(s):\n    return M"),
    "function": (
        "def f():\n    return 1\ndef run(s):\n    return f()",
        "def g():\n    return 1\ndef run(s):\n    return g()",
    ),
    "two that call each other": (
        "def f(n):\n    return g(n)\ndef g(n):\n    return f(n - 1)\ndef run(s):\n    return f(s)",
        "def q(n):\n    return f(n - 1)\ndef f(n):\n    return q(n)\ndef run(s):\n    return f(s)",
    ),
    "alias of an import": (
        "import numpy as np\ndef run(s):\n    return np.sin(s)",
        "import numpy\ndef run(s):\n    return numpy.sin(s)",
    ),
    "import of the name itself": (
        "import numpy\ndef run(s):\n    return numpy.sin(s)",
        "from numpy import sin\ndef run(s):\n    return sin(s)",
    ),
    "import inside": (
        "from numpy import sin\ndef run(s):\n    return sin(s)",
        "def run(s):\n    from numpy import sin\n    return sin(s)",
    ),
    "log line": (
        "import logging\nlogger = logging.getLogger()\ndef run(s):\n    return s",
        'import logging\nlogger = logging.getLogger()\ndef run(s):\n    logger.info("%s", s)\n    return s',
    ),
    "error text": (
        'def run(s):\n    if s:\n        raise ValueError("a")',
        'def run(s):\n    if s:\n        raise ValueError(f"{s} is bad") from None',
    ),
    "text of an assertion": ("def run(s):\n    assert s", 'def run(s):\n    assert s, "empty"'),
    "check": (
        "def run(s):\n    return s",
        "def check_it(s):\n    assert s\ndef run(s):\n    check_it(s)\n    return s",
    ),
    "order of keywords": ("def run(s):\n    return f(a=1, b=2)", "def run(s):\n    return f(b=2, a=1)"),
    "function that nothing uses": (
        "def run(s):\n    return s",
        "def other():\n    return 2\ndef run(s):\n    return s",
    ),
    "name hidden by a local one": (
        "def mean():\n    return 1\ndef run(s):\n    mean = s\n    return mean",
        "def mean():\n    return 2\ndef run(s):\n    mean = s\n    return mean",
    ),
    "field of a dataclass, its hint": (
        "from dataclasses import dataclass\n@dataclass\nclass A:\n    n: int\ndef run(s):\n    return A(s)",
        "from dataclasses import dataclass\n@dataclass\nclass A:\n    n: float\ndef run(s):\n    return A(s)",
    ),
    "what a Literal allows": (
        'from typing import Literal\nK = Literal["a"]\ndef run(s):\n    return K',
        'from typing import Literal\nK = Literal["a", "b"]\ndef run(s):\n    return K',
    ),
}
MODEL = """
from pydantic import BaseModel
class Base(BaseModel):
    pass
class A(Base):
    n: int
def run(s):
    return A(n=s)
"""
DIFFERENT = {
    "constant": ("N = 1\ndef run(s):\n    return N", "N = 2\ndef run(s):\n    return N"),
    "whole number or not": ("def run(s):\n    return 1", "def run(s):\n    return 1.0"),
    "default": ("def run(s, n=1):\n    return n", "def run(s, n=2):\n    return n"),
    "default of a keyword": ("def run(s, *, a, n=1):\n    return n", "def run(s, *, a=1, n):\n    return n"),
    "decorator": ("def run(s):\n    return s", "import functools\n@functools.cache\ndef run(s):\n    return s"),
    "operator": ("def run(s):\n    return s + 1", "def run(s):\n    return s - 1"),
    "order of arguments": ("def run(s):\n    return f(s, 1)", "def run(s):\n    return f(1, s)"),
    "which local variable": (
        "def run(s):\n    a, b = s\n    return a",
        "def run(s):\n    a, b = s\n    return b",
    ),
    "function of a library": (
        "import numpy as np\ndef run(s):\n    return np.sin(s)",
        "import numpy as np\ndef run(s):\n    return np.cos(s)",
    ),
    "kind of error": ("def run(s):\n    raise ValueError(s)", "def run(s):\n    raise KeyError(s)"),
    "text that is a value": ('def run(s):\n    return "a"', 'def run(s):\n    return "b"'),
    "method": (
        "class A:\n    def f(self):\n        return 1\ndef run(s):\n    return A().f()",
        "class A:\n    def f(self):\n        return 2\ndef run(s):\n    return A().f()",
    ),
    "base of a base": (
        "class A:\n    n = 1\nclass B(A):\n    pass\ndef run(s):\n    return B.n",
        "class A:\n    n = 2\nclass B(A):\n    pass\ndef run(s):\n    return B.n",
    ),
    "deep below": (
        "".join(f"def f{n}():\n    return f{n + 1}()\n" for n in range(9))
        + "def f9():\n    return 1\ndef run(s):\n    return f0()",
        "".join(f"def f{n}():\n    return f{n + 1}()\n" for n in range(9))
        + "def f9():\n    return 2\ndef run(s):\n    return f0()",
    ),
    "field of a pydantic model, its hint": (
        MODEL,
        MODEL.replace("int", "float"),
    ),
    "a second statement on a constant": (
        "N = {}\nN['a'] = 1\ndef run(s):\n    return N",
        "N = {}\nN['a'] = 2\ndef run(s):\n    return N",
    ),
    "a list that grows": (
        "N = []\nN.append(1)\ndef run(s):\n    return N",
        "N = []\nN.append(2)\ndef run(s):\n    return N",
    ),
    "what an import does": (
        "import torch\ntorch.set_num_threads(1)\ndef run(s):\n    return s",
        "import torch\ntorch.set_num_threads(2)\ndef run(s):\n    return s",
    ),
    "a branch of the module": (
        "try:\n    import fast\n    N = 1\nexcept ImportError:\n    N = 2\ndef run(s):\n    return N",
        "try:\n    import fast\n    N = 1\nexcept ImportError:\n    N = 3\ndef run(s):\n    return N",
    ),
    "a global": (
        "N = 1\ndef run(s):\n    global N\n    N = N + 1\n    return N",
        "N = 2\ndef run(s):\n    global N\n    N = N + 1\n    return N",
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_what_cannot_change_a_number_is_not_seen(package, name):
    before, after = SAME[name]
    assert package(before).digest == package(after).digest


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_can_change_a_number_is_seen(package, name):
    before, after = DIFFERENT[name]
    assert package(before).digest != package(after).digest


USE = "from workflow_scripts.core import used\ndef run(s):\n    return used(s)"


def test_a_definition_counts_wherever_it_lies_and_however_it_is_reached(package):
    used = "def used(s):\n    return s * 2\n"
    here = package(f"{used}def run(s):\n    return used(s)")
    same = [
        package(USE, {"core.py": used}),
        package(USE, {"core/__init__.py": "from workflow_scripts.core.part import used\n", "core/part.py": used}),
        package(USE, {"core/__init__.py": "from .part import f as used\n", "core/part.py": used.replace("used", "f")}),
        package("from workflow_scripts import core\ndef run(s):\n    return core.used(s)", {"core.py": used}),
        package(
            "import workflow_scripts.core\ndef run(s):\n    return workflow_scripts.core.used(s)", {"core.py": used}
        ),
    ]
    assert {step.digest for step in same} == {here.digest}
    assert package(USE, {"core.py": used.replace("2", "3")}).digest != here.digest


def test_a_module_passed_on_counts_as_a_whole(package):
    run = "from workflow_scripts import core\ndef run(s):\n    return s(core)"
    assert package(run, {"core.py": "N = 1\n"}).digest != package(run, {"core.py": "N = 2\n"}).digest


TABLE = """
def one(s):
    return {one}
def two(s):
    return {two}
KEY = "second"
TABLE = {{"first": one, KEY: two{more}}}
"""
CALL = "from workflow_scripts.core import TABLE\ndef run(s):\n    return TABLE[s](s)"


def table(one=1, two=2, more=""):
    return {"core.py": TABLE.format(one=one, two=two, more=more)}


def test_a_step_depends_on_the_entries_of_a_table_that_it_names_else_on_all(package):
    first, second = {"TABLE": ["first"]}, {"TABLE": ["second"]}
    assert package(CALL, table(), first).digest == package(CALL, table(two=3, more=", 'third': one"), first).digest
    assert package(CALL, table(), first).digest != package(CALL, table(one=3), first).digest
    assert package(CALL, table(), second).digest != package(CALL, table(two=3), second).digest
    assert package(CALL, table(), first).digest != package(CALL, table(), second).digest
    assert package(CALL, table()).digest != package(CALL, table(two=3)).digest


def test_tables_and_functions_that_are_not_there_are_refused(package):
    with pytest.raises(CodeError, match=r"core:used is no table of named entries"):
        package(USE, {"core.py": "def used(s):\n    return s\n"}, {"used": ["first"]})
    with pytest.raises(CodeError, match=r"uses no table OTHER"):
        package(CALL, table(), {"OTHER": ["first"]})
    with pytest.raises(CodeError, match=r"told to call core:missing, which is not there"):
        package(CALL, table(), functions=["core:missing"])


ROWS = ["{{'a': {a}, 'b': {b}}}", "({a}, {b})", "{{row.name: row for row in ({a}, {b})}}", "{{'a': A, 'b': B}}"]


def rows(form, weight=1, label="x", other=5, decorator="@dataclass"):
    a = f"Row(name='a', weight={weight}, label={label!r})"
    b = f"Row(name='b', weight={other}, label='y')"
    kind = (
        f"from dataclasses import dataclass\n{decorator}\nclass Row:\n    name: str\n    weight: int\n    label: str\n"
    )
    return {"core.py": f"{kind}A = {a}\nB = {b}\nROWS = {form.format(a=a, b=b)}\n"}


@pytest.mark.parametrize("form", ROWS)
def test_of_an_instance_of_a_dataclass_only_the_fields_count_that_are_read(package, form):
    run = "from workflow_scripts.core import ROWS\ndef run(s):\n    return ROWS[s].weight"
    keys = {"ROWS": ["a"]}
    before = package(run, rows(form), keys).digest
    assert package(run, rows(form, label="another", other=6), keys).digest == before
    assert package(run, rows(form, weight=2), keys).digest != before
    for reads in (
        run.replace("weight", "label"),
        f"from dataclasses import asdict\n{run}, asdict(s)",
        f"{run}, vars(s)",
    ):
        assert package(reads, rows(form, label="another"), keys).digest != package(reads, rows(form), keys).digest


@pytest.mark.parametrize("form", ROWS)
def test_arguments_of_any_other_call_all_count(package, form):
    run = "from workflow_scripts.core import ROWS\ndef run(s):\n    return ROWS[s].weight"
    before, after = (rows(form, label=label, decorator="@made") for label in "xy")
    assert package(run, before, {"ROWS": ["a"]}).digest != package(run, after, {"ROWS": ["a"]}).digest


METHODS = """
from pydantic import BaseModel
class A({base}):
    n: int = 1
    def used(self):
        return 1
    @property
    def spare(self):
        return {spare}
def run(s):
    return A().used()
"""


def test_of_settings_only_the_methods_count_that_are_read_of_other_classes_all(package):
    one, two = (METHODS.format(base="BaseModel", spare=n) for n in (1, 2))
    assert package(one).digest == package(two).digest
    assert package(one.replace("return 1", "return 3")).digest != package(one).digest
    assert package(one.replace("used()", "spare")).digest != package(two.replace("used()", "spare")).digest
    one, two = (METHODS.format(base="Module", spare=n) for n in (1, 2))
    assert package(one).digest != package(two).digest


def test_a_declared_table_counts_where_a_text_in_the_code_names_it(package):
    run = 'from workflow_scripts.artifacts.tables import TABLES\ndef run(s):\n    return TABLES["gap"]'
    before, gap, other = (
        {"artifacts/tables.py": f"TABLES = {{'gap': {one}, 'decline': {two}}}\n"}
        for one, two in ((1, 1), (2, 1), (1, 2))
    )
    assert package(run, before).digest == package(run, other).digest != package(run, gap).digest


def test_functions_that_are_named_by_a_text_count(package):
    files = {"stage/other.py": "def draw():\n    return 1\n", "core.py": "def draw():\n    return 1\n"}
    edited = {**files, "stage/other.py": "def draw():\n    return 2\n"}
    run = "def run(s):\n    return s"
    assert package(run, files, functions=["other:draw"]).digest != package(run, edited, functions=["other:draw"]).digest
    assert package(run, files, functions=["core:draw"]).digest == package(run, edited, functions=["core:draw"]).digest
    run = 'WHERE = "workflow_scripts.stage.other:draw"\ndef run(s):\n    return s(WHERE)'
    assert package(run, files).digest != package(run, edited).digest


def test_changes_name_the_definitions_at_the_root_of_it_and_no_renamed_ones(package):
    middle = "def middle(s):\n    return used(s) + 1\ndef run(s):\n    return middle(s)"
    before = package(f"from workflow_scripts.core import used\n{middle}", {"core.py": "def used(s):\n    return s\n"})
    edited = package(f"from workflow_scripts.core import used\n{middle}", {"core.py": "def used(s):\n    return -s\n"})
    moved = package(f"from workflow_scripts.parts import used\n{middle}", {"parts.py": "def used(s):\n    return s\n"})
    assert changes(before.definitions, edited.definitions) == ["core: used changed"]
    assert moved.digest == before.digest and changes(before.definitions, moved.definitions) == []
    other = package(
        "from workflow_scripts.core import used\ndef run(s):\n    return used(s)",
        {"core.py": "def used(s):\n    return s\n"},
    )
    assert changes(before.definitions, other.definitions) == [
        "stage.step: middle no longer used",
        "stage.step: run changed",
    ]
    assert "not in results/code" in changes(None, before.definitions)[0]


def test_what_is_accepted_holds_for_that_job_and_that_code_only(package, tmp_path):
    before, now, next_one = (package(f"def run(s):\n    return {n}") for n in range(3))
    record = CodeRecord(tmp_path / "code")
    job, other = {"model": "a"}, {"model": "b"}
    assert record.value(now, job) == f"code:{now.digest}"
    record.accept(now.digest, job, before.digest)
    record.save()
    again = CodeRecord(tmp_path / "code")
    assert again.value(now, job) == f"code:{before.digest}"
    assert again.value(now, other) == f"code:{now.digest}"
    assert again.value(next_one, job) == f"code:{next_one.digest}"
    assert set(again.definitions(now.digest)) == set(now.definitions)


def checked(text, catch):
    caught = f"    try:\n        each(s)\n    except {catch}\n"
    return f"def check_it(s):\n    assert s > {text}\ndef each(s):\n    check_it(s)\ndef run(s):\n{caught}"


def test_a_check_counts_where_a_caller_turns_its_error_into_something_else(package):
    for catch in ("ValueError:\n        return None", "(KeyError, Exception) as error:\n        s(error)"):
        assert package(checked(1, catch)).digest != package(checked(2, catch)).digest
    for catch in ("ValueError as error:\n        raise KeyError(s) from error", "OSError:\n        return None"):
        assert package(checked(1, catch)).digest == package(checked(2, catch)).digest
    check = "def check_it(s):\n    assert s > {}\n"
    suppressed = f"{check}def run(s):\n    with contextlib.suppress(ValueError):\n        check_it(s)"
    assert package(suppressed.format(1)).digest != package(suppressed.format(2)).digest
