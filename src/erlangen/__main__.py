"""`python -m erlangen` is the `erlangen` command."""

import sys

from erlangen.cli import main

if __name__ == "__main__":
    sys.exit(main())
