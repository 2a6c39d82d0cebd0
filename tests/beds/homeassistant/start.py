"""Starts Home Assistant on a Python a little older than it asks for: 2026.2.3 wants 3.13.2 and runs on 3.13.0."""

import sys

import homeassistant.const as const

const.REQUIRED_PYTHON_VER = (3, 13, 0)
from homeassistant import __main__ as main  # noqa: E402  # the limit is read when it is imported

main.REQUIRED_PYTHON_VER = (3, 13, 0)
sys.exit(main.main())
