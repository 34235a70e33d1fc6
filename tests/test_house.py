"""The house itself: a light import, no lost public names, no machine paths in what is committed."""

import subprocess
import sys
from pathlib import Path

import erlangen

ROOT = Path(__file__).parents[1]


def _python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.strip()


def test_import_is_light():
    loaded = _python("import sys, erlangen; print(sorted(m for m in sys.modules if not m.startswith('_')))")
    for heavy in ("torch", "lightning", "kornia", "torch_geometric", "sklearn", "matplotlib", "scipy"):
        assert f"'{heavy}'" not in loaded


def test_rooms_do_not_pull_in_what_is_only_sometimes_needed():
    code = (
        "import sys, erlangen as er; er.groups, er.nn, er.data, er.objectives, er.train, er.audit, er.deploy, er.report, "
        "er.testing; print(sorted({'lightning', 'faiss', 'matplotlib', 'torch_geometric'} & set(sys.modules)))"
    )
    assert _python(code) == "[]"


def test_every_public_name_resolves():
    for name in erlangen.__all__:
        assert getattr(erlangen, name) is not None


def test_an_unknown_public_name_lists_the_known_ones():
    try:
        erlangen.symetry  # noqa: B018
    except AttributeError as error:
        assert "Symmetry" in str(error)
    else:
        raise AssertionError("a name that does not exist was found")


def test_rooms_that_are_verbs_can_be_called():
    assert callable(erlangen.audit)
    assert callable(erlangen.fit)
    assert callable(erlangen.check)


def test_source_files_do_one_thing():
    too_long = [str(p) for p in (ROOT / "src").rglob("*.py") if len(p.read_text(encoding="utf-8").splitlines()) > 400]
    assert too_long == []
    drawers = [p.name for p in (ROOT / "src").rglob("*.py") if p.stem in {"utils", "helpers", "common", "misc"}]
    assert drawers == []


def test_no_public_function_has_the_name_of_a_file_beside_it() -> None:
    """Importing the file would put the module in the function's place."""
    import re

    for init in (Path(__file__).parents[1] / "src" / "erlangen").rglob("__init__.py"):
        public = re.findall(r'^\s+"(\w+)": f?"[^"]+:', init.read_text("utf-8"), re.MULTILINE)
        files = {p.stem for p in init.parent.glob("*.py")} | {p.parent.name for p in init.parent.glob("*/__init__.py")}
        clash = set(public) & files - {
            "symmetrize",
            "probes",
            "clebsch_gordan",
        }  # these modules are callable, or the same object
        assert not clash, f"{init}: {clash}"
