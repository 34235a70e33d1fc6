"""Second views by name, and which of them an objective gets when its user names none."""

from collections.abc import Callable
from typing import Any

from erlangen._registry import unknown_name


def _group(dataset: Any, symmetry: Any, seed: int) -> Any:
    from erlangen.data import Views

    return Views(symmetry if symmetry is not None else "SO(2)")


def _crops(dataset: Any, symmetry: Any, seed: int) -> Any:
    from erlangen.data import Crops

    return Crops()


def _crop_of_whole(dataset: Any, symmetry: Any, seed: int) -> Any:
    from erlangen.data import Crops

    return Crops(first="whole")


def _other_bias(dataset: Any, symmetry: Any, seed: int) -> Any:
    from erlangen.train.bias_translator import BiasTranslator

    return BiasTranslator().fit(dataset, seed=seed).views()


KINDS: dict[str, Callable[[Any, Any, int], Any]] = {
    "group": _group,
    "crops": _crops,
    "crop_of_whole": _crop_of_whole,
    "other_bias": _other_bias,
}


def resolve_views(views: Any, symmetry: Any, objective: Any, dataset: Any, *, seed: int) -> Any:
    """The function `(x, generator) -> (x1, x2, g)` that a fit uses, or None.

    A function is taken as it is. None with a symmetry is "group", elements of that symmetry; None without one is
    "suited": what the objective's `suited_views` says, else "group". Objectives of single views get views only where
    they are named. A data set that makes `pairs` itself keeps them.

    Raises:
        ValueError: a name that does not exist, or named or default views for data that are not images.
    """
    pair = getattr(objective, "views", "single") == "pair"
    if views is None and symmetry is not None:
        views = "group" if pair else None
    suited = views is None or views == "suited"
    if suited:
        if not pair or hasattr(dataset, "pairs"):
            return None
        hook = getattr(objective, "suited_views", None)
        views = (None if hook is None else hook(dataset)) or "group"
    if not isinstance(views, str):
        return views
    if hasattr(dataset, "pairs") and pair:
        return None
    if views not in KINDS:
        raise unknown_name("views", views, ["suited", *KINDS])
    if dataset.kind != "image":
        name = getattr(type(objective), "registered_name", type(objective).__name__)
        raise ValueError(
            f"views: {name!r} compares two views of each sample, and none are known for pair objectives on vectors; give "
            "views=(x, generator) -> (x1, x2, g) from Python, or try 'cross_entropy'"
        )
    return KINDS[views](dataset, symmetry, seed)
