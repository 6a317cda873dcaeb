import json
import re
from pathlib import Path

import pytest

from placement.problem.problem_file import load_problem, problem_document, read_problem
from placement.solver.solve import solve
from profiles.errors import InputError

PAGE = (Path(__file__).parents[3] / "docs" / "problem-file.md").read_text(encoding="utf-8")


def example():
    return json.loads(re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)[1])


def test_the_documented_problem_is_solved():
    """gpt's 25/s take two replicas, and all keep apart from each other: four devices of 0.5."""
    result = solve(read_problem(example()), 10)
    assert (result.status, result.value) == ("optimal", 2)


def test_the_documented_python_runs(capsys):
    exec(re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1], {})
    assert capsys.readouterr().out.startswith("optimal 1.0 1.0\n")


def test_a_problem_comes_back_as_it_was(tmp_path):
    problem = read_problem(example())
    path = tmp_path / "problem.json"
    path.write_text(json.dumps(problem_document(problem)))
    assert load_problem(path) == problem


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "is not JSON"),
        ("[]", "a mapping with models"),
        ("{}", "models"),
        ('{"model": []}', "model"),
    ],
)
def test_a_broken_problem_is_named(tmp_path, text, named):
    path = tmp_path / "problem.json"
    path.write_text(text)
    with pytest.raises(InputError, match=named):
        load_problem(path)


def test_a_need_of_an_unknown_resource_is_named():
    document = example()
    document["models"][0]["options"][0]["needs"]["memroy"] = 1
    with pytest.raises(InputError, match=r"options\.b1\.needs: unknown resource 'memroy'"):
        read_problem(document)
