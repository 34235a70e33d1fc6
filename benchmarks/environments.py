"""Make the virtual environments of `environments.toml`: for peers that cannot share one with the others.

python benchmarks/environments.py [NAME ...]
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent


def install(python: Path, *what: str) -> None:
    base = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*base, "-c", str(ROOT / "constraints.txt"), *what], check=True)


def make(name: str, wanted: dict[str, Any]) -> None:
    """One environment, unless it is there already with the same packages."""
    missing = [tool for tool in wanted.get("system", []) if shutil.which(tool) is None]
    if missing:
        print(
            f"{name}: skipped, it needs {', '.join(missing)} on this machine (Debian: apt-get install {' '.join(missing)})"
        )
        return
    folder = ROOT / ".bench" / name
    stamp = hashlib.sha256(repr(sorted(wanted.items())).encode()).hexdigest()
    if (folder / "made").is_file() and (folder / "made").read_text() == stamp:
        return
    print(f"{name}: installing {', '.join(wanted['packages'] + wanted.get('alone', []))}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    install(python, "-e", str(ROOT), *wanted["packages"])
    if wanted.get("alone"):
        install(python, "--no-deps", *wanted["alone"])
    (folder / "made").write_text(stamp)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="environments; all of them by default")
    options = parser.parse_args()
    known = tomllib.loads((HERE / "environments.toml").read_text("utf-8"))
    for name in options.names or known:
        if name not in known:
            parser.error(f"names: {name!r} given; {', '.join(known)} are known")
        try:
            make(name, known[name])
        except subprocess.CalledProcessError:
            print(f"{name}: could not be installed; its peer will be missing from the table", file=sys.stderr)


if __name__ == "__main__":
    main()
