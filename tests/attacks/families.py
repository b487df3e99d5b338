"""All attacks, in the order of the documentation."""

from tests.attacks import between_trials, resources, score_answers, score_output, survival
from tests.attacks.corpus import Family
from tests.attacks.probes import FAMILIES

PLANS = [module.FAMILY for module in (score_output, score_answers, survival, resources)]
ALL: list[Family] = [*FAMILIES, between_trials.FAMILY, *PLANS]
