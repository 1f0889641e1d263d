"""The three standard streams, made so that nothing that is printed, and no reader that is gone, is an error."""

from __future__ import annotations

import contextlib
import io
import os
import sys

__all__ = ["forget_output", "prepare_streams"]


def prepare_streams() -> None:
    """Let a stream that is closed be empty, and characters that the encoding of one lacks be escapes."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:  # `>&-`
            setattr(sys, name, io.TextIOWrapper(io.FileIO(os.devnull, mode)))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def forget_output() -> None:
    """Leave nothing to flush to a reader that is gone, or to a disk that is full."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            try:
                stream.flush()
            except OSError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
