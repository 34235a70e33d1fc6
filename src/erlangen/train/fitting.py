"""`fit`: an encoder, data and an objective in; a run out."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from erlangen._registry import encoders, unknown_name
from erlangen._registry import objectives as objective_registry
from erlangen.train.arguments import (
    check_labels,
    check_numbers,
    check_single_samples,
    component,
    dataset_of,
    hold_out,
    in_words,
    make_directory,
)
from erlangen.train.batches import BatchMaker, StepStream, evaluate
from erlangen.train.checkpoint import clean, has_begun, read_checkpoint
from erlangen.train.configuration import (
    count_parameters,
    describe,
    document,
    is_configuration,
    materialise,
    refuse_difference,
)
from erlangen.train.errors import RunDirectoryError
from erlangen.train.files import read_json, write_json
from erlangen.train.launch import build_trainer, check_devices, process_rank, silent_lightning
from erlangen.train.lock import RunLock
from erlangen.train.monitoring import watched_samples
from erlangen.train.optimization import OPTIMIZERS, SCHEDULES
from erlangen.train.prepared import PreparedEncoder
from erlangen.train.randomness import preserved_globals, seed_globals
from erlangen.train.runs import Run, load, load_full_state, save_run
from erlangen.train.sampler import StepSampler
from erlangen.train.view_kinds import resolve_views


def fit(
    encoder: nn.Module | str,
    data: Any,
    *,
    objective: Any = "cross_entropy",
    views: Any = None,
    epochs: int = 10,
    batch_size: int = 128,
    lr: float = 1e-3,
    weight_decay: float = 1e-4,
    optimizer: str = "adamw",
    schedule: str = "cosine",
    patience: int | None = None,
    val_fraction: float = 0.1,
    seed: int = 0,
    out: str | Path | None = None,
    devices: int | str = 1,
    nodes: int = 1,
    strategy: str = "auto",
    precision: str = "32-true",
    save_every_steps: int | None = None,
    resume: bool = True,
    quiet: bool = False,
    symmetry: Any = None,
) -> Run:
    """Fit an encoder to an objective.

    Step n depends on (seed, n, weights, optimizer state) and on nothing else: its samples, views, dropout and learning
    rate are functions of n. A run that was killed at any moment therefore goes on bit for bit (one CPU process, same
    number of threads) when the same call is made again.

    Arguments:
        encoder: a module `[batch, ...] -> [batch, embedding_dim]` or the name of a registered one.
        data: an `ArrayDataset` or whatever `data.load` takes; its train part is fitted.
        objective: an `Objective` or the name of a registered one.
        views: `(x, generator) -> (x1, x2, g)` or the name of a kind: "group" for elements of `symmetry`, "crops",
            "crop_of_whole", "other_bias" (a `BiasTranslator` is learned first), or "suited" for what the objective asks
            for. None is "group" where a symmetry is named and "suited" where none is.
        epochs: passes over the train part; each has a permutation of its own and leaves out the last partial batch.
        batch_size: samples per optimizer step, all devices together.
        lr: the peak learning rate, after 5 % of linear warm-up; constant with `schedule="constant"`.
        patience: stop after so many epochs without a better validation loss, and keep the best epoch's weights.
        val_fraction: the share of the train part that is held out for validation; 0 for none.
        out: the run directory; None keeps nothing on disk.
        devices: how many, or "auto"; more than one process needs `out`.
        nodes: machines, each with `devices`; handed to Lightning's trainer, as are the next two.
        strategy: "auto", "ddp" or another of Lightning's.
        precision: "32-true", "bf16-mixed" or another of Lightning's.
        save_every_steps: None saves at the end of an epoch or within a minute, at most every ten seconds.
        resume: go on with what `out` holds; False starts over and drops it.
        quiet: no progress bar.
        symmetry: the group of the default views, a name or a group.

    Raises:
        ValueError: an argument that cannot be used, by name.
        RunDirectoryError: `out` is in use or holds a run with another configuration.
        TrainingError: a loss term stopped being finite; the message names it and the step.
        OSError: the disk is full; the last checkpoint is intact.
    """
    numbers = {"epochs": epochs, "batch_size": batch_size, "save_every_steps": save_every_steps, "patience": patience}
    check_numbers(numbers, lr=lr, weight_decay=weight_decay, val_fraction=val_fraction, seed=seed)
    for argument, value, allowed in (("optimizer", optimizer, OPTIMIZERS), ("schedule", schedule, SCHEDULES)):
        if value not in allowed:
            raise unknown_name(argument, value, list(allowed))
    check_devices(devices, nodes)
    several = nodes > 1 or devices not in (1, "1")
    if several and out is None:
        raise ValueError("out: several processes need a run directory to hand their result over; give one")
    dataset = dataset_of(data, seed)
    with preserved_globals():
        seed_globals(seed, "initialisation")
        model, goal = component(encoder, "encoder"), component(objective, "objective")
        check_labels(goal, dataset)
        train, held_out = hold_out(dataset.train, val_fraction, seed)
        pair = getattr(goal, "views", "single") == "pair"
        transform = resolve_views(views, symmetry, goal, dataset, seed=seed)
        prepared = PreparedEncoder(model, dataset.mean, dataset.std)
        materialise(prepared, goal, train.tensors(torch.arange(min(2, len(train))))[0], dataset.num_classes or None)
        if not pair:
            check_single_samples(min(batch_size, len(train)), len(train), prepared)
        config = document(
            encoder=describe(model, encoders, strict=out is not None),
            objective=describe(goal, objective_registry, strict=out is not None),
            data={
                "name": dataset.name,
                "origin": getattr(dataset, "origin", {}),
                "kind": dataset.kind,
                "fingerprint": dataset.fingerprint(),
                "sample_shape": list(dataset.sample_shape),
                "num_classes": dataset.num_classes or None,
                "mean": dataset.mean.tolist(),
                "std": dataset.std.tolist(),
            },
            fit={
                "views": in_words(transform),
                "epochs": epochs,
                "batch_size": batch_size,
                "lr": float(lr),
                "weight_decay": float(weight_decay),
                "optimizer": optimizer,
                "schedule": schedule,
                "patience": patience,
                "val_fraction": val_fraction,
                "seed": seed,
                "precision": precision,
                "symmetry": None if symmetry is None else str(symmetry),
            },
            launch={"parameters": count_parameters(prepared)},
        )
        directory = None if out is None else Path(out)
        leader = process_rank() == 0
        if directory is not None and leader:
            make_directory(directory)
        with RunLock(directory) if directory is not None and leader else nullcontext():
            if directory is not None:
                finished = _enter(directory, config, resume=resume, leader=leader)
                if finished is not None:
                    return finished
            return _run(
                prepared,
                goal,
                BatchMaker(train, transform, pair),
                None if held_out is None else BatchMaker(held_out, transform if pair else None, pair),
                BatchMaker(dataset.test, transform if pair else None, pair) if "test" in dataset.splits else None,
                config,
                directory,
                {"devices": devices, "nodes": nodes, "strategy": strategy, "precision": precision},
                save_every_steps,
                quiet,
            )


def _run(
    encoder: PreparedEncoder,
    objective: nn.Module,
    training: BatchMaker,
    validation: BatchMaker | None,
    test: BatchMaker | None,
    config: dict[str, Any],
    directory: Path | None,
    launch: dict[str, Any],
    save_every_steps: int | None,
    quiet: bool,
) -> Run:
    from erlangen.train.loop import FirstInterrupt, FitCallback, FitModule, Interrupted, Plan
    from erlangen.train.progress_bar import ProgressBar

    fit = config["fit"]
    checkpoint = read_checkpoint(directory) if directory is not None else None
    kept = ("epochs", "lr", "weight_decay", "optimizer", "schedule", "patience", "seed")
    sampler = StepSampler(len(training.data), fit["batch_size"], fit["seed"])
    plan = Plan(
        sampler, validation, out=directory, save_every_steps=save_every_steps, **{key: fit[key] for key in kept}
    )
    if checkpoint is not None and directory is not None:
        load_full_state(encoder, objective, checkpoint.weights, directory / "state.json")
        plan.progress, plan.optimizer_state = checkpoint.progress, checkpoint.optimizer
        plan.best_weights = checkpoint.best_weights
    plan.watched = watched_samples(training.data)
    progress = plan.progress
    module = FitModule(encoder.train(), objective.train(), plan)
    if progress.step < plan.total_steps and progress.stopped is None:
        remaining = fit["epochs"] - progress.step // sampler.steps_per_epoch
        with ProgressBar(plan.total_steps, quiet=quiet) as bar, silent_lightning():
            callback = FitCallback(plan, bar)
            trainer = build_trainer(epochs=remaining, callback=callback, **launch)
            plan.sampler = StepSampler(
                sampler.num_samples, sampler.batch_size, sampler.seed, trainer.global_rank, trainer.world_size
            )
            try:
                with FirstInterrupt(callback.interrupt):
                    trainer.fit(module, StepStream(training, plan.sampler, lambda: plan.progress.step))
            except (Interrupted, SystemExit):  # Lightning turns a second Ctrl-C into an exit of its own
                raise KeyboardInterrupt from None
        if trainer.world_size > 1:
            return _hand_over(trainer, encoder, objective, plan, test, config, directory)
    return _finish(encoder, objective, plan, test, config, directory)


def _hand_over(
    trainer: Any,
    encoder: PreparedEncoder,
    objective: nn.Module,
    plan: Any,
    test: BatchMaker | None,
    config: dict[str, Any],
    directory: Path | None,
) -> Run:
    """Several processes: rank 0 finishes from the checkpoint that all of them wrote, the others wait and read."""
    assert directory is not None
    if trainer.is_global_zero:
        checkpoint = read_checkpoint(directory)
        if checkpoint is not None:
            load_full_state(encoder, objective, checkpoint.weights, directory / "state.json")
            plan.progress, plan.best_weights = checkpoint.progress, checkpoint.best_weights
        _finish(encoder.cpu(), objective.cpu(), plan, test, config, directory)
    trainer.strategy.barrier()
    return load(directory)


def _finish(
    encoder: PreparedEncoder,
    objective: nn.Module,
    plan: Any,
    test: BatchMaker | None,
    config: dict[str, Any],
    directory: Path | None,
) -> Run:
    if plan.best_weights is not None:
        load_full_state(encoder, objective, plan.best_weights, "the best epoch")
    encoder.eval()
    objective.eval()
    history = plan.progress.history
    metrics = {name: value for name, value in history[-1].items() if "/" in name}
    if plan.progress.best_epoch is not None:
        best = next(row for row in history if row["epoch"] == plan.progress.best_epoch)
        metrics = {name: value for name, value in best.items() if "/" in name}
    if test is not None:
        device = next(encoder.parameters()).device
        scores = evaluate(encoder, objective, test, batch_size=plan.sampler.step_size, seed=plan.seed, device=device)
        metrics |= {f"test/{name}": value for name, value in scores.items()}
    run = Run(encoder, objective, history, metrics, config, directory)
    if directory is not None:
        save_run(run, directory)
        (directory / "state.json").unlink(missing_ok=True)
        clean(directory)
    return run


def _enter(directory: Path, config: dict[str, Any], *, resume: bool, leader: bool) -> Run | None:
    """Claim `directory` for `config`; a finished run with this very configuration is returned."""
    path = directory / "config.json"
    if leader and not resume:
        for name in ("result.json", "state.json", "config.json", "weights.safetensors", "history.jsonl"):
            (directory / name).unlink(missing_ok=True)
        clean(directory)
    if path.exists():
        there = read_json(path)
        if leader and is_configuration(there) and not has_begun(directory):
            (directory / "state.json").unlink(missing_ok=True)
            clean(directory)
            write_json(path, config)  # a fit that failed at its first step keeps nobody out
        else:
            refuse_difference(there, config, directory)
    elif leader:
        foreign = [p.name for p in directory.iterdir() if p.name != "run.lock" and not p.name.startswith(".")]
        if foreign:
            raise RunDirectoryError(
                f"out: {str(directory)!r} is not empty and not a run ({foreign[0]}, ...); choose another directory"
            )
        write_json(path, config)
    return load(directory) if (directory / "result.json").exists() else None
