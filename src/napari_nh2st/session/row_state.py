"""State of a row of the sections table, in two words and in sentences."""

from dataclasses import dataclass, field
from typing import Literal

from napari_nh2st.session.section_rows import SectionRows
from napari_nh2st.spots import Proposal
from napari_nh2st.spots.choice import Parts
from napari_nh2st.spots.section_check import Found

Level = Literal["unused", "checking", "bad", "warned", "good"]


@dataclass(frozen=True)
class RowState:
    """State of a row.

    Parameters
    ----------
    level
        ``"good"`` or ``"warned"`` where it can be trained on, ``"bad"`` where it cannot,
        ``"checking"`` until its files are checked, and ``"unused"`` where it is left out.
    short
        For a cell.
    sentences
        All that is known of it; the most important first.
    proposal
        What would put its spots where they belong.
    parts
        What its ST's file holds several of.
    """

    level: Level
    short: str
    sentences: tuple[str, ...]
    proposal: Proposal | None = None
    parts: Parts = field(default_factory=Parts)


def row_state(rows: SectionRows, number: int, found: Found | None) -> RowState:
    """State of a row: by itself, beside the others, and by the check of its files.

    Parameters
    ----------
    rows, number
        Which row it is.
    found
        By the check of its files; None while there is none.
    """
    row = rows[number]
    if row.role == "leave out":
        return RowState("unused", "left out", ("Not used: its role is leave out.",))
    troubles: list[tuple[str, str]] = []
    if found is not None and not found.is_good:
        troubles += [(found.short, sentence) for sentence in found.sentences]
    if (same := rows.same_files(number)) is not None:
        troubles.append(
            (
                "there twice",
                f"Row {same + 1} ({rows[same].name or 'without a name'}) has the same slide and "
                "ST: remove one of them, or give it the role leave out.",
            )
        )
    if (namesake := rows.namesake(number)) is not None:
        file = rows[namesake].slide or rows[namesake].expression
        troubles.append(
            (
                "name twice",
                f"Row {namesake + 1}{f' ({file})' if file else ''} is also called {row.name!r}: "
                "give one of them another name.",
            )
        )
    if row.missing:
        more = " …" if len(row.missing) > 1 else ""
        needs = f"needs {row.missing[0]}{more}"
        troubles.append((needs, f"Still missing: {', '.join(row.missing)}."))
    proposal = found.proposal if found is not None else None
    parts = found.parts if found is not None else Parts()
    known = found.sentences + found.warnings if found is not None and found.is_good else ()
    if troubles:
        said = dict.fromkeys(sentence for _, sentence in troubles)
        return RowState("bad", troubles[0][0], (*said, *known), proposal, parts)
    if found is None:
        return RowState("checking", "checking…", ("Its files are being read.",))
    level: Level = "warned" if found.warnings else "good"
    return RowState(level, found.short, known, proposal, parts)
