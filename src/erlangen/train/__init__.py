"""Fitting an encoder, and the run directory that a fit leaves behind."""

from erlangen._lazy import lazy_attributes

_PUBLIC = {
    "two_stage_finetune": "erlangen.train.two_stage:two_stage_finetune",
    "HashGAN": "erlangen.train.hash_gan:HashGAN",
    "BiasTranslator": "erlangen.train.bias_translator:BiasTranslator",
    "NotFittedError": "erlangen.train.errors:NotFittedError",
    "Ensemble": "erlangen.train.ensemble:Ensemble",
    "fit": "erlangen.train.fitting:fit",
    "fit_ensemble": "erlangen.train.ensemble:fit_ensemble",
    "load": "erlangen.train.runs:load",
    "save_run": "erlangen.train.runs:save_run",
    "Run": "erlangen.train.runs:Run",
    "PreparedEncoder": "erlangen.train.prepared:PreparedEncoder",
    "StepSampler": "erlangen.train.sampler:StepSampler",
    "TrainingError": "erlangen.train.errors:TrainingError",
    "RunDirectoryError": "erlangen.train.errors:RunDirectoryError",
    "model_id": "erlangen.train.prepared:model_id",
}
__all__ = sorted(_PUBLIC)

__getattr__, __dir__ = lazy_attributes(__name__, _PUBLIC)
