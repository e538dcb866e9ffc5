"""Version of the installed package."""

from importlib.metadata import version

__version__ = version("napari-nh2st")
"""The version that is installed, such as 1.2.0."""
