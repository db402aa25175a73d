"""Screening: many surrogates are fitted before the search, and only the best of them are fine-tuned."""

from pydantic import Field, model_validator

from neuroiou_study.spec.base import Spec, broken


class ScreenSpec(Spec):
    """Fit many surrogates of each learned arm at once, gate them, and send the best to fine-tuning.

    They are drawn from the arm's ranges below fit_surrogate, the file's own values first, and ranked by the direction
    of their gradient on unseen images. The arm's trials go round the best and search the other ranges. No range may
    change what the surrogates are fitted to.
    """

    surrogates: int = Field(64, ge=2)
    """How many surrogates of each learned arm are fitted; fewer where the ranges hold fewer."""
    top: int | None = Field(None, ge=1)
    """How many of them, at most, are sent to fine-tuning. Unset: as many as budget.max_trials."""

    @model_validator(mode="after")
    def _top_is_a_part(self) -> "ScreenSpec":
        if self.top is not None and self.top > self.surrogates:
            rule = f"is more than the {self.surrogates} that are fitted: lower it or raise screen.surrogates"
            raise broken(self.top, rule, ("top",))
        return self
