"""`python -m leither_lite`: the commands."""

from __future__ import annotations

import sys

from leither_lite.cli import main

sys.exit(main())
