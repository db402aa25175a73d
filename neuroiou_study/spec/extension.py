"""A study may be extended: more trials, wider ranges, further ones. What has been evaluated then stays comparable."""

from collections.abc import Iterator

from neuroiou_study.spec.ranges import ChoiceRange, Range
from neuroiou_study.spec.study import StudySpec


def require_extension(former: StudySpec, now: StudySpec, where: str) -> None:
    """Raise ValueError, naming the range, if ``now`` could not have drawn every trial that ``former`` could."""
    for name, bounds in _narrowed(former, now):
        rule = f"was searched over {_text(bounds)}, which its trials come from: it may only grow"
        raise ValueError(f"{where}: search.{name}: {rule}: widen it, or give the study another name")


def _narrowed(former: StudySpec, now: StudySpec) -> Iterator[tuple[str, Range]]:
    for name, bounds in former.search.items():
        wider = now.search.get(name)
        if wider is None or type(wider) is not type(bounds) or not all(map(wider.contains, bounds.corners)):
            yield name, bounds


def _text(bounds: Range) -> str:
    if isinstance(bounds, ChoiceRange):
        return ", ".join(map(str, bounds.choice))
    return f"{bounds.corners[0]} to {bounds.corners[-1]}"
