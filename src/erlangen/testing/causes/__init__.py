"""Why a model breaks a symmetry, found by experiments on a private copy of it, and said in plain words."""
