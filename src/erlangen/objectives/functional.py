"""Every loss as a pure function of tensors that returns its named terms."""

from erlangen.objectives.classification import cross_entropy, group_prediction
from erlangen.objectives.sie_terms import sie
from erlangen.objectives.vicreg_terms import covariance_loss, invariance_loss, variance_loss, vicreg

__all__ = ["covariance_loss", "cross_entropy", "group_prediction", "invariance_loss", "sie", "variance_loss", "vicreg"]
