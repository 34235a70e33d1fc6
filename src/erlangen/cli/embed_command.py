"""`erlangen embed RUN DATA --out VECTORS`: vectors of a data set under a run's encoder."""

from __future__ import annotations

from erlangen.cli.arguments import call, parser_for
from erlangen.cli.output import print_json, print_line


def embed(
    run: str,
    data: str,
    *,
    out: str,
    batch_size: int = 256,
    image_size: int | None = None,
    pad: int | None = None,
    skip_unreadable: bool = False,
    json: bool = False,
    quiet: bool = False,
    seed: int = 0,
) -> int:
    """Embed a data set with a run's encoder; an interrupted call resumes.

    Args:
        run: The folder of a finished `erlangen fit`.
        data: A data set's name, a folder of images, .npz, .parquet or .csv.
        out: Where the vectors go.
        batch_size: Samples in one forward pass.
        image_size: Resize images to this many pixels; the run's own size by default.
        pad: Pixels of zeros added on every side; the run's own by default.
        skip_unreadable: Leave unreadable images out.
        json: Print what was written as JSON.
        quiet: No progress on standard error.
        seed: Accepted everywhere; embedding draws nothing.
    """
    from erlangen import data as data_room
    from erlangen import deploy, train

    fitted = train.load(run)
    origin = fitted.config.get("data", {}).get("origin") or {}
    dataset = data_room.load(
        data,
        image_size=origin.get("image_size") if image_size is None else image_size,
        pad=origin.get("pad", 0) if pad is None else pad,
        skip_unreadable=skip_unreadable,
    )
    fitted_on = tuple(fitted.config.get("data", {}).get("sample_shape") or dataset.sample_shape)
    if len(fitted_on) != len(dataset.sample_shape) or fitted_on[0] != dataset.sample_shape[0]:
        raise ValueError(f"data: samples of shape {dataset.sample_shape}; {run} was fitted on samples of {fitted_on}")
    written = deploy.embed(fitted.encoder, dataset, out=out, batch_size=batch_size)
    facts = {"vectors": str(written), "count": len(dataset), "dim": fitted.encoder.embedding_dim, "space": fitted.space}
    if json:
        print_json(facts)
    else:
        print_line(f"{facts['count']} vectors of dimension {facts['dim']} in {facts['vectors']}")
    return 0


def run(argv: list[str]) -> int:
    return call(parser_for("embed", embed), embed, argv)
