"""What layers of measured spots tell in their metadata: which files they are from, and where on."""

SPOTS_PATH_KEY = "nh2st_spots_path"
"""Path of the ST, as :func:`~napari_nh2st.spots.read_spots` takes it."""

POSITIONS_PATH_KEY = "nh2st_positions_path"
"""Path of the table of positions; missing where there is none."""

PART_KEY = "nh2st_spots_part"
"""The part of the file, as a :class:`~napari_nh2st.spots.SpotChoice`; missing where it has one."""

MEASURED_SLIDE_KEY = "nh2st_measured_slide"
"""Path of the slide that the spots lie on."""

FIX_KEY = "nh2st_spots_fix"
"""What the user had done to the positions, as :meth:`~napari_nh2st.spots.Fix.spelled`: "" to leave
them as they are. None where nobody has decided."""
