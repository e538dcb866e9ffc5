"""The files of a TIFF slide: its own, and others that an OME-TIFF may name."""

import html
import re
from pathlib import Path
from typing import Any

import tifffile

from napari_nh2st.errors import InputError, SegmentError
from napari_nh2st.regular_files import check_regular
from napari_nh2st.remote import RemotePath, SlidePath

from .file_bytes import SlideBytes, open_bytes
from .orientation_tag import ORIENTATION, orientation_notice
from .tiff_directories import Directories, check_directories
from .tiff_page import StoredPage, mark_misplaced

_UNUSED_OME = "Its OME-XML is damaged or does not fit: levels, channels and µm/px may be missing."


def open_tiff_file(path: SlidePath) -> tifffile.TiffFile:
    """The file as tifffile opens it; what is remote, without the files that it names."""
    if isinstance(path, RemotePath):
        return tifffile.TiffFile(path.open(), name=path.name, _multifile=False)
    return tifffile.TiffFile(path)


class TiffFiles:
    """The slide's file, and the others that an OME-TIFF may name.

    Parameters
    ----------
    path
        The slide's own.
    directories
        What was found in it.
    """

    def __init__(self, path: SlidePath, directories: Directories) -> None:
        self._main = path.resolve()
        self._files: dict[SlidePath, SlideBytes] = {self._main: open_bytes(path)}
        self._directories = {self._main: directories}
        self._stored: dict[SlidePath, list[StoredPage]] = {self._main: []}
        self._notices: list[str] = []
        self._known: dict[tuple[Any, int], StoredPage] = {}

    def of(self, page: tifffile.TiffPage | tifffile.TiffFrame) -> SlideBytes:
        """The file that a page is in."""
        if isinstance(self._main, RemotePath):
            return self._files[self._main]
        path = Path(page.parent.filehandle.path).resolve()
        if path not in self._files:
            self._directories[path] = check_directories(path)
            self._files[path] = open_bytes(path)
            self._stored[path] = []
        return self._files[path]

    def stored(self, page: tifffile.TiffPage | tifffile.TiffFrame, shift: int = 0) -> StoredPage:
        """The page's pieces, which are all in the file.

        Raises
        ------
        InputError
            They are not, or what all of them need is damaged.
        """
        if (page, shift) in self._known:
            return self._known[page, shift]
        file = self.of(page)
        try:
            stored = StoredPage(page, file, shift)
        except SegmentError as error:
            raise InputError(
                f"{file.path}: the file is damaged: page {page.index}: {error}. "
                "Copy or download it again."
            ) from error
        if stored.doubt:
            self._notices.append(f"Page {page.index} may be damaged: {stored.doubt}.")
        if stored.end > file.size:
            raise InputError(
                f"{file.path}: the file is cut off: it has {file.size:,} bytes and its pixels "
                f"reach to byte {stored.end:,}. Copy or download it again."
            )
        self._stored[file.path.resolve()].append(stored)
        self._known[page, shift] = stored
        return stored

    @property
    def damaged(self) -> frozenset[int]:
        """Offsets of the directories of damaged pages of the slide's own file."""
        return self._directories[self._main].left_out

    def uses(self, page: tifffile.TiffPage) -> bool:
        """Whether pixels of a page were asked for."""
        return any(page.offset == known.offset for known, _ in self._known)

    def leave_out(self, page: tifffile.TiffPage) -> None:
        """Note that a page is no level although it stands among them."""
        self._notices.append(
            f"An image of {page.imagewidth:,} × {page.imagelength:,} px is left out: it is not a "
            "smaller copy of the slide, or is stored in another way."
        )

    def leave_out_associated(self, name: str, reason: InputError) -> None:
        """Note that a label, macro or thumbnail cannot be read."""
        self._notices.append(f"The {name} image is left out. {reason}")

    def mark_misplaced(self) -> None:
        """Mark the pieces, of all pages asked for, that cannot lie where their page says."""
        for path, pages in self._stored.items():
            if pages:
                mark_misplaced(pages, self._directories[path].starts, self._files[path].size)

    def notices(self, tiff: tifffile.TiffFile) -> tuple[str, ...]:
        """What looks damaged in the directories, and the pages that no image is made of."""
        main = self._directories[self._main]
        images = [one for one in tiff.series if one.keyframe.dtype is not None]
        used = {page.offset for one in images for level in one.levels for page in level if page}
        used |= {page.offset for page, _ in self._known}
        # Where tifffile cannot use OME-XML, it takes the pages as they come.
        is_lost = "<OME " in tiff.pages.first.description and tiff.series[0].kind != "ome"
        return (
            *main.notices,
            *((_UNUSED_OME,) if is_lost else ()),
            *orientation_notice(tiff.pages.first.tags.valueof(ORIENTATION)),
            *self._notices,
            *(
                f"Page {number} is left out: its directory is damaged or of an unknown kind."
                for offset, number in main.pages.items()
                if offset not in used
            ),
        )

    @property
    def paths(self) -> tuple[SlidePath, ...]:
        """Of all files that were opened."""
        return tuple(file.path for file in self._files.values())

    def close(self) -> None:
        """Close all."""
        for file in self._files.values():
            file.close()


def check_other_files(path: SlidePath, tiff: tifffile.TiffFile) -> None:
    """Check the other files that OME-XML names before tifffile opens them.

    Raises
    ------
    InputError
        One is no file, or is damaged.
    """
    if not tiff.is_ome or not tiff.ome_metadata:
        return
    for name in set(re.findall(r'<(?:\w+:)?UUID\b[^>]*\bFileName="([^"]+)"', tiff.ome_metadata)):
        if isinstance(path, RemotePath):
            _check_only_file(path, html.unescape(name))
            continue
        other = path.parent / html.unescape(name)
        check_regular(other)
        if other.is_file() and other.resolve() != path.resolve():
            check_directories(other)


def _check_only_file(path: RemotePath, name: str) -> None:
    """Raise where a file of that name lies beside a remote one: the slide is in several.

    A single file names itself, by what it was called when it was written.
    """
    is_beside = name != path.name and not {"/", "\\"} & set(name)
    if is_beside and (path.parent / name).is_file():
        raise InputError(
            f"{path}: the slide is in several files. Download them to one folder and open the copy."
        )
