"""Files at URLs: `RemotePath` is one, read by ranges through a bounded cache on disk."""

from .path import RemotePath, SlidePath, prefetch_files, slide_path
from .urls import is_url

__all__ = ["RemotePath", "SlidePath", "is_url", "prefetch_files", "slide_path"]
