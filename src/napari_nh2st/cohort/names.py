"""Names of a cohort's outputs: no two alike, and those of earlier runs unchanged."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from napari_nh2st.cohort.cohort_slide import CohortSlide


def with_names(slides: Sequence[CohortSlide]) -> tuple[CohortSlide, ...]:
    """The slides, each with a name that no other has, also where capitals do not count."""
    names = [slide.path.stem for slide in slides]
    for numbers in _alike(names):
        for kind in _longer_names([slides[number] for number in numbers]):
            if not _alike(kind):
                for number, name in zip(numbers, kind, strict=True):
                    names[number] = name
                break
    for numbers in _alike(names):  # the very same twice, or one that has another's longer name
        for place, number in enumerate(numbers, 1):
            names[number] += f"-row{number + 1}" if place > 1 else ""
    return tuple(replace(slide, name=name) for slide, name in zip(slides, names, strict=True))


def with_earlier_names(
    slides: Sequence[CohortSlide], earlier: Sequence[CohortSlide], taken: Collection[str]
) -> tuple[CohortSlide, ...]:
    """The slides, those that an earlier run had with the names that they have since.

    Parameters
    ----------
    slides
        With names, of which no two are alike.
    earlier
        Slides of earlier runs, with their names.
    taken
        Names of these that stay taken whether the slide is asked for or not: something lies under
        them.

    Returns
    -------
    tuple of CohortSlide
        A slide that is new has its own name, and a longer one where that is taken.
    """
    known: dict[object, list[str]] = defaultdict(list)
    for each in earlier:
        known[each.identity].append(each.name)
    found: list[CohortSlide | None] = []
    for slide in slides:
        names = known[slide.identity]
        found.append(replace(slide, name=names.pop(0)) if names else None)
    used = {slide.name.casefold() for slide in found if slide is not None}
    used |= {name.casefold() for name in taken}
    for number, slide in enumerate(slides):
        if found[number] is None:
            name = next(name for name in _candidates(slide, earlier) if name.casefold() not in used)
            used.add(name.casefold())
            found[number] = replace(slide, name=name)
    return tuple(slide for slide in found if slide is not None)


def _candidates(slide: CohortSlide, earlier: Sequence[CohortSlide]) -> Iterator[str]:
    """Names for a slide that is new, the best first; there is no last."""
    yield slide.name
    others = [each for each in earlier if each.name.casefold() == slide.name.casefold()]
    for own, *those in _longer_names([slide, *others]):
        if own.casefold() not in {name.casefold() for name in those}:
            yield own
    number = 2
    while True:
        yield f"{slide.name}-{number}"
        number += 1


def _alike(names: Sequence[str]) -> list[list[int]]:
    """Which names are the same, in groups of two and more."""
    groups = defaultdict(list)
    for number, name in enumerate(names):
        groups[name.casefold()].append(number)
    return [numbers for numbers in groups.values() if len(numbers) > 1]


def _longer_names(slides: Sequence[CohortSlide]) -> Iterator[list[str]]:
    """Names that may tell slides apart whose files have the same, shorter ones first."""

    def marked(slide: CohortSlide) -> str:
        region = slide.region.stem if slide.region else ""
        model = Path(slide.model).name if slide.model else ""
        marks = (slide.path.stem, region, model, slide.image or "")
        return "-".join(mark for mark in marks if mark)

    yield [marked(slide) for slide in slides]
    yield [slide.path.name.replace(".", "-") for slide in slides]
    for depth in range(2, max(len(slide.path.parts) for slide in slides)):
        around = ["-".join(slide.path.parts[1:-1][1 - depth :]) for slide in slides]
        yield [f"{f}-{s.path.stem}" for f, s in zip(around, slides, strict=True)]
        yield [f"{f}-{marked(s)}" for f, s in zip(around, slides, strict=True)]
