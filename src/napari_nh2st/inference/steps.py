"""Steps of a grid: parts of the pitch."""

from napari_nh2st.errors import InputError

_TOLERANCE = 0.01
"""Share by which a step may be off: 33.3 µm is a sixth of 200."""


def divisions_of(pitch_um: float, step_um: float) -> int:
    """How many steps a pitch is.

    Parameters
    ----------
    pitch_um
        Distance between the neighbors that the model looks at.
    step_um
        Distance between values.

    Raises
    ------
    InputError
        It is not a whole number; the nearest steps of which it is are named.
    """
    ratio = pitch_um / step_um
    divisions = max(1, round(ratio))
    if abs(ratio - divisions) > _TOLERANCE * divisions:
        fewer = max(1, int(ratio))
        raise InputError(
            f"step_um is {step_um:g}, but has to be a whole part of the pitch of {pitch_um:g} µm; "
            f"the nearest are {pitch_um / fewer:.4g} and {pitch_um / (fewer + 1):.4g}"
        )
    return divisions
