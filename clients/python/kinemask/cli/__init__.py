"""The command line: `kinemask`. Everything heavy is imported by the command that needs it."""

from __future__ import annotations


def main() -> None:
    """Run the command that `sys.argv` names, and exit."""
    from kinemask.cli.app import app

    app()
