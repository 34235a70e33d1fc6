"""`erlangen index upgrade`: a new model over the old vectors, where accuracy allows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from erlangen.cli.index_files import open_any
from erlangen.cli.output import note, print_json, print_line, print_table


def upgrade(
    index: str,
    run: str,
    sample: str,
    *,
    old_run: str,
    out: str,
    link: Literal["auto", "identity", "orthogonal"] = "auto",
    tolerance: float = 0.02,
    json: bool = False,
    quiet: bool = False,
    seed: int = 0,
) -> int:
    """Put a new encoder before an old index and keep its vectors, if accuracy allows it; exit code 1 if not.

    Args:
        index: The folder of the old index or gallery.
        run: The new encoder's run.
        sample: A labelled data set, on which both encoders are measured.
        old_run: The run whose encoder made the vectors of the index.
        out: The folder of the gallery that answers the new encoder's queries.
        link: How new queries reach old vectors: as they are, or turned by an orthogonal map fitted on half the sample.
        tolerance: Accuracy that may be lost.
        json: Print the measurement as JSON.
        quiet: No progress on standard error.
        seed: Which half of the sample is the gallery.
    """
    import torch

    from erlangen import deploy, train

    opened = open_any(index, mmap=True)
    if not isinstance(opened, deploy.VersionedGallery) and opened.engine == "binary":
        raise ValueError("index: holds codes; vectors are needed to reach them through a link")
    before, after = train.load(old_run), train.load(run)
    spaces = opened.spaces if isinstance(opened, deploy.VersionedGallery) else [opened.space]
    if before.space["model_id"] not in [space.model_id for space in spaces]:
        raise ValueError(
            f"--old_run: {old_run} is model {before.space['model_id']!r}; the index holds vectors of "
            + ", ".join(repr(space.model_id) for space in spaces)
        )
    if Path(out).resolve() == Path(index).resolve():
        raise ValueError(
            "--out: is the old index; name another folder, so that the old one stays until you trust the new"
        )
    note("embedding the sample with both encoders", quiet)
    old, labels = _embedded(before, sample)
    new, _ = _embedded(after, sample)
    if labels is None:
        raise ValueError(f"sample: {sample!r} has no labels to measure accuracy by")
    report = deploy.measure_upgrade(
        old, new, labels, link=link, tolerance=tolerance, generator=torch.Generator().manual_seed(seed)
    )
    old_space, new_space = (deploy.SpaceInfo.of(fitted.space) for fitted in (before, after))
    if report.compatible:
        with deploy.writing(out, "--out"):
            deploy.upgrade(opened, report, old=old_space, new=new_space).save(out)
    facts = {**report.to_dict(), "out": out if report.compatible else None}
    if json:
        print_json(facts)
        return 0 if report.compatible else 1
    rows = [
        ["old queries, old vectors", f"{report.old:.3f}"],
        [f"new queries, old vectors ({report.link})", f"{report.crossed:.3f}"],
        ["new queries, new vectors", f"{report.new:.3f}"],
        ["accuracy moves by", "{:+.3f} [{:+.3f}, {:+.3f}]".format(*report.moved)],
    ]
    print_table(f"{report.queries} queries", ["", "accuracy"], rows)
    if report.compatible:
        print_line(f"{out} answers queries of {run}; its {len(opened)} old vectors are kept as they are")
        return 0
    print_line(
        f"refused: a loss beyond the tolerance of {tolerance}. Embed the gallery anew (erlangen embed {run} DATA; "
        f"erlangen index build), train the new encoder to be compatible, or raise --tolerance"
    )
    return 1


def _embedded(fitted: Any, sample: str) -> tuple[Any, Any]:
    """Vectors and labels of a data set, prepared as the run was fitted."""
    from erlangen import data, deploy

    origin = fitted.config.get("data", {}).get("origin") or {}
    dataset = data.load(sample, image_size=origin.get("image_size"), pad=origin.get("pad", 0))
    fitted_on = tuple(fitted.config.get("data", {}).get("sample_shape") or dataset.sample_shape)
    if len(fitted_on) != len(dataset.sample_shape) or fitted_on[0] != dataset.sample_shape[0]:
        raise ValueError(f"sample: of shape {dataset.sample_shape}; {fitted.path} was fitted on samples of {fitted_on}")
    return deploy.embed(fitted.encoder, dataset), dataset.label
