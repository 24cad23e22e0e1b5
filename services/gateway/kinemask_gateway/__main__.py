"""Start the gateway: `python -m kinemask_gateway`; `--help` lists its settings."""

from __future__ import annotations

import sys

from kinemask_chassis.launch import main as launch

from kinemask_gateway.service import GatewayService
from kinemask_gateway.settings import GatewaySettings


def main() -> int:
    """The process's exit code."""
    return launch(GatewayService, GatewaySettings)


if __name__ == "__main__":
    sys.exit(main())
