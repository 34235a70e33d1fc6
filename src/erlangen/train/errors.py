"""What can go wrong in a fit, by name."""


class TrainingError(FloatingPointError):
    """A loss term, a gradient or an output stopped being a finite number."""


class NotFittedError(RuntimeError):
    """Something that must be fitted first was used."""


class RunDirectoryError(ValueError):
    """A run directory is in use, belongs to another configuration, or cannot be read."""
