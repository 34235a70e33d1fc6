"""What is kept of a run, when it is stale, and what the table says."""

import dataclasses
import json
import math

import pytest

from erlangen._registry import recipes
from erlangen.recipes import reproduce as machinery
from erlangen.recipes.claim import Claim
from erlangen.recipes.recipe import recipe
from erlangen.recipes.reproduce import is_stale, read_record, reproduce
from erlangen.recipes.table import claims_page, read_results, write_claims


@pytest.fixture
def toy():
    """A registered recipe whose numbers are made by `made.answer(budget, seed)`; `made.seen` lists the seeds that ran."""

    class Made:
        def __init__(self):
            self.seen: list[tuple[str, int]] = []

        @staticmethod
        def answer(budget, seed):
            return {"good": 1.0 + 0.01 * seed, "bad": 0.01 * seed}

    made = Made()

    @recipe(
        "toy",
        title="A toy",
        source="nowhere",
        claims=[
            Claim("good is more", "good", "above", "bad"),
            Claim("bad is more", "bad", "above", "good", control=True),
        ],
        uses=["erlangen.recipes.claim"],
        laptop_seeds=3,
    )
    def measure(budget, seed):
        made.seen.append((budget, seed))
        return made.answer(budget, seed)

    made.recipe = measure
    yield made
    recipes._entries.pop("toy")


def changed(monkeypatch, made, code="0" * 16):
    """As if the code of the toy were another."""
    other = dataclasses.replace(made.recipe)
    object.__setattr__(other, "code_hash", lambda: code)
    monkeypatch.setitem(recipes._entries, "toy", dataclasses.replace(recipes.entry("toy"), obj=other))


def test_record_holds_numbers_outcomes_and_versions(toy, tmp_path):
    (record,) = reproduce(["toy"], results=tmp_path)
    assert [c["outcome"] for c in record["claims"]] == ["reproduced", "not reproduced"]
    assert record["measured"]["good"]["mean"] == pytest.approx(1.01)
    assert set(record["versions"]) == {"erlangen", "torch", "python"}
    assert json.loads((tmp_path / "toy.json").read_text()) == record
    assert [p.name for p in tmp_path.iterdir()] == ["toy.json"]


def test_interrupted_run_keeps_finished_seeds(toy, tmp_path):
    plain = toy.answer

    def stop_at_two(budget, seed):
        if seed == 2:
            raise KeyboardInterrupt
        return plain(budget, seed)

    toy.answer = stop_at_two
    with pytest.raises(KeyboardInterrupt):
        reproduce(["toy"], results=tmp_path)
    assert sorted(read_record(tmp_path / "toy.json")["seeds"]) == ["0", "1"]
    toy.answer, toy.seen = plain, []
    (record,) = reproduce(["toy"], results=tmp_path)
    assert toy.seen == [("laptop", 2)]
    assert list(record["seeds"]) == ["0", "1", "2"]


def test_more_seeds_add_to_those_that_are_there(toy, tmp_path):
    reproduce(["toy"], results=tmp_path, seeds=2)
    toy.seen = []
    reproduce(["toy"], results=tmp_path, seeds=12)
    assert toy.seen == [("laptop", k) for k in range(2, 12)]
    stored = read_record(tmp_path / "toy.json")
    assert list(stored["seeds"]) == [str(k) for k in range(12)]
    (record,) = reproduce(["toy"], results=tmp_path, seeds=2)
    assert list(record["seeds"]) == ["0", "1"]
    assert read_record(tmp_path / "toy.json") == stored


def test_other_code_is_stale_and_measured_again(toy, tmp_path, monkeypatch):
    (record,) = reproduce(["toy"], results=tmp_path)
    assert not is_stale(record)
    assert "stale" not in claims_page([record])
    changed(monkeypatch, toy)
    assert is_stale(record)
    assert "stale" in claims_page(read_results(tmp_path))
    toy.seen = []
    (again,) = reproduce(["toy"], results=tmp_path)
    assert len(toy.seen) == 3
    assert not is_stale(again)


def test_an_edit_that_changes_no_number_is_confirmed_by_one_seed(toy, tmp_path, monkeypatch):
    plain = toy.answer
    (before,) = reproduce(["toy"], results=tmp_path)
    changed(monkeypatch, toy)
    toy.seen = []
    (record,) = reproduce(["toy"], results=tmp_path, confirm=True)
    assert toy.seen == [("laptop", 0)]
    assert not is_stale(record)
    assert record["measured"] == before["measured"]
    assert [run.get("code") for run in record["seeds"].values()] == [None, before["code"], before["code"]]
    assert "2 before the code was last edited" in claims_page([record])

    changed(monkeypatch, toy, code="1" * 16)
    toy.seen = []
    toy.answer = lambda budget, seed: {**plain(budget, seed), "good": 1.0 + 0.011 * seed + 1e-15}
    (record,) = reproduce(["toy"], results=tmp_path, confirm=True)
    assert len(toy.seen) == 3
    assert "before the code" not in claims_page([record])


def test_code_that_changes_during_the_run_makes_the_result_stale(toy, tmp_path, monkeypatch):
    plain = toy.answer

    def edit(budget, seed):
        changed(monkeypatch, toy)
        return plain(budget, seed)

    toy.answer = edit
    (record,) = reproduce(["toy"], results=tmp_path, seeds=1)
    assert is_stale(record)


def test_hash_sees_the_modules_in_use(toy, tmp_path, monkeypatch):
    module = tmp_path / "used_by_toy.py"
    module.write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    using = dataclasses.replace(toy.recipe, uses=("used_by_toy",))
    before = using.code_hash()
    assert using.code_hash() == before
    module.write_text("x = 2\n")
    assert using.code_hash() != before


SOURCE = """
from erlangen.recipes.recipe import recipe

@recipe(
    "worded",
    title="A title, ü",
    source="nowhere",
    claims=[],
    uses=[],
    explanation=("one " "thing, (ü)"),
)
def measure(budget, seed):
    return {"x": 1.0}  # title="x", explanation="y"
"""


def test_hash_does_not_see_words_and_sees_all_else(toy, tmp_path, monkeypatch):
    module = tmp_path / "worded_toy.py"
    monkeypatch.syspath_prepend(tmp_path)
    module.write_text(SOURCE, encoding="utf-8")
    using = dataclasses.replace(toy.recipe, uses=("worded_toy",))

    def hash_of(old="", new=""):
        assert old in SOURCE
        module.write_text(SOURCE.replace(old, new) if old else SOURCE, encoding="utf-8")
        return using.code_hash()

    before = hash_of()
    recipes._entries.pop("worded")
    words = [
        ('"thing, (ü)"', '"thing, (ü)"\n        "and another"'),
        ('    explanation=("one " "thing, (ü)"),\n', ""),
        ("A title, ü", "Another"),
    ]
    assert {hash_of(*change) for change in words} == {before}
    code = [
        ("1.0", "2.0"),
        ("nowhere", "somewhere"),
        ('explanation="y"', 'explanation="z"'),
        ("claims=[]", "claims=[1]"),
        ("measure(budget, seed)", "measure(budget, seed=3)"),
        ('("one " "thing, (ü)")', "print(1)"),
    ]
    hashes = {hash_of(*change) for change in code}
    assert len(hashes) == len(code)
    assert before not in hashes


def test_the_page_has_the_words_at_hand_unless_the_record_is_stale(toy, tmp_path, monkeypatch):
    (record,) = reproduce(["toy"], results=tmp_path)
    mended = dataclasses.replace(toy.recipe, title="Mended", explanation="Chosen after seed 0.")
    monkeypatch.setitem(recipes._entries, "toy", dataclasses.replace(recipes.entry("toy"), obj=mended))
    page = claims_page([record])
    assert "## Mended" in page
    assert "Chosen after seed 0." in page
    stale = claims_page([{**record, "code": "0" * 16}])
    assert "## A toy" in stale
    assert "Chosen" not in stale


def test_result_of_a_recipe_that_is_gone_is_stale(toy, tmp_path):
    (record,) = reproduce(["toy"], results=tmp_path)
    assert is_stale({**record, "name": "gone"})


def test_smaller_budget_leaves_larger_results_alone(toy, tmp_path):
    reproduce(["toy"], results=tmp_path)
    kept = (tmp_path / "toy.json").read_bytes()
    (smoke,) = reproduce(["toy"], results=tmp_path, budget="smoke")
    assert smoke["budget"] == "smoke"
    assert (tmp_path / "toy.json").read_bytes() == kept
    assert read_record(tmp_path / "smoke" / "toy.json") == smoke
    assert [r["budget"] for r in read_results(tmp_path)] == ["laptop"]


def test_nan_is_stored_as_null_and_reproduces_nothing(toy, tmp_path):
    plain = toy.answer
    toy.answer = lambda budget, seed: {**plain(budget, seed), "good": math.nan if seed == 1 else 2.0}
    (record,) = reproduce(["toy"], results=tmp_path)
    assert [c["outcome"] for c in record["claims"]] == ["not reproduced"] * 2
    text = (tmp_path / "toy.json").read_text()
    assert "NaN" not in text
    assert json.loads(text)["seeds"]["1"]["numbers"]["good"] is None
    (again,) = reproduce(["toy"], results=tmp_path)
    assert [c["outcome"] for c in again["claims"]] == ["not reproduced"] * 2
    assert "not finite" in claims_page([again])


def test_table_says_what_was_computed(toy, tmp_path):
    reproduce(["toy"], results=tmp_path / "results")
    write_claims(tmp_path / "results", tmp_path / "docs" / "claims.md")
    page = (tmp_path / "docs" / "claims.md").read_text()
    assert "| good is more | 1 [1, 1] | ✔ reproduced |" in page
    assert "| *Control:* bad is more | -1 [-1, -1] | ✘ not reproduced |" in page


def test_bad_input_is_one_clear_line(toy, tmp_path):
    with pytest.raises(ValueError, match="seeds: 0"):
        reproduce(["toy"], results=tmp_path, seeds=0)
    with pytest.raises(ValueError, match="unknown 'toi'"):
        reproduce(["toi"], results=tmp_path)
    with pytest.raises(Exception, match="budget"):
        reproduce(["toy"], results=tmp_path, budget="tiny")
    toy.answer = lambda budget, seed: {"good": 1.0, "bad": 0.0, **({"odd": 1.0} if seed else {})}
    with pytest.raises(ValueError, match=r"toy: .*odd"):
        reproduce(["toy"], results=tmp_path)
    assert list(read_record(tmp_path / "toy.json")["seeds"]) == ["0"]
    for content in ("{", "[]", '{"name": "toy"}', "\ud800".encode("utf-8", "surrogatepass")):
        path = tmp_path / "toy.json"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(ValueError, match=r"toy\.json is not"):
            reproduce(["toy"], results=tmp_path)
        with pytest.raises(ValueError, match=r"toy\.json is not"):
            read_results(tmp_path)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    machinery.write_atomically(path, "old")

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr(machinery.os, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        machinery.write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]
