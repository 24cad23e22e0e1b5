"""Where this user's models and data lie: the same for the command line and the services."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def default_data_dir() -> Path:
    """The platform's folder for a user's application data, not created yet."""
    home = Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "kinemask"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local")) / "kinemask"
    return Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "kinemask"


def models_dir() -> Path:
    """Where the services look for models: `models` in KINEMASK_DATA_DIR, or in the default."""
    return Path(os.environ.get("KINEMASK_DATA_DIR") or default_data_dir()) / "models"
