"""Files at URLs: `RemotePath` is one, read by ranges through a bounded cache on disk."""

from .path import RemotePath, SlidePath, prefetch_files, slide_path

__all__ = ["RemotePath", "SlidePath", "prefetch_files", "slide_path"]
