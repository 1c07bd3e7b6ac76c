"""Opening a file in a viewer, where there is a screen to open it on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import webbrowser
from pathlib import Path


def has_display() -> bool:
    """Whether a window could be opened."""
    if sys.platform == "darwin":
        return not os.environ.get("SSH_CONNECTION")
    if sys.platform == "win32":
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def show(path: Path, wait: float | None = None) -> bool:
    """Opens the file in the desktop's viewer, then waits; False where there is no display or no viewer."""
    if not has_display() or not _open(path.resolve()):
        return False
    if wait is not None and wait > 0:
        time.sleep(wait)
    return True


def _open(path: Path) -> bool:
    if path.suffix.lower() in (".html", ".htm", ".svg"):
        try:
            return webbrowser.open(path.as_uri())
        except webbrowser.Error:
            return False
    if sys.platform == "win32":
        os.startfile(path)
        return True
    command = "open" if sys.platform == "darwin" else "xdg-open"
    try:
        subprocess.Popen([command, str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except OSError:
        return False
    return True
