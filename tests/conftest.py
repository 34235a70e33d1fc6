"""Every annotated shape in the package is checked while the tests run."""

import os

from jaxtyping import install_import_hook

_hook = install_import_hook("erlangen", "beartype.beartype")

import pytest  # noqa: E402
import torch  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

# The same examples at every run, so that a green run stays green; `make fuzz` looks for new ones.
quiet = {"deadline": None, "max_examples": 20, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("erlangen", derandomize=True, **quiet)
settings.register_profile("fuzz", **{**quiet, "max_examples": 200})
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "erlangen"))
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data_root():
    """The folder with the real data sets; tests that need it skip, with the reason, where it is absent."""
    root = os.environ.get("ERLANGEN_DATA", "")
    if not os.path.isdir(root):
        pytest.skip("needs the data sets: set ERLANGEN_DATA to the folder that holds them")
    return root
