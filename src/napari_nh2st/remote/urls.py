"""URLs of slides: which texts are some, and what of them may be shown or stored."""

import re
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

HIDDEN_QUERY = "?…"
"""Stands for the query of a URL, which may be a key."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.:-]+://")  # longer than the letter of a drive
_COLLAPSED = re.compile(r"(https?|s3|gs|gcs|file|memory):/(?!/)")
_SIGNATURES = frozenset({"signature", "x-amz-signature", "x-goog-signature", "sig"})
_SIGNED_WITH = _SIGNATURES | {
    *("expires", "policy", "key-pair-id", "awsaccesskeyid", "googleaccessid"),
    *("se", "sp", "spr", "sr", "st", "sv", "skoid", "sktid", "skt", "ske", "sks", "skv"),
}


def is_url(text: str) -> bool:
    """Whether a text is a URL and no path of this machine."""
    return _URL.match(text) is not None


def restored(text: str) -> str:
    """A URL whose second slash was lost, as in a `pathlib.Path` of it, as it was."""
    return _COLLAPSED.sub(r"\1://", text) if _COLLAPSED.match(text) else text


def shown_url(url: str) -> str:
    """A URL without what may be a secret: user and password, query and fragment."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}{HIDDEN_QUERY if parts.query else ''}"


def identity(url: str) -> str:
    """What names the content: a URL without user, fragment and the signature of its query.

    A file has another signature each time that its URL is signed.
    """
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    if any(name.lower() in _SIGNATURES for name, _ in query):
        query = [(name, value) for name, value in query if not _is_signed_with(name.lower())]
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, urlencode(query), ""))


def _is_signed_with(name: str) -> bool:
    return name in _SIGNED_WITH or name.startswith(("x-amz-", "x-goog-"))


def file_name(url: str) -> str:
    """The last part of a URL's path, as a file would be called."""
    parts = urlsplit(url)
    name = unquote(parts.path.rstrip("/").rpartition("/")[2]) or parts.hostname or "slide"
    return name.replace("/", "_").replace("\\", "_")


def child_url(url: str, name: str) -> str:
    """The URL of what lies below another, with its query."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}"))


def parent_url(url: str) -> str:
    """The URL of the folder that something lies in, with its query."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=parts.path.rstrip("/").rpartition("/")[0]))
