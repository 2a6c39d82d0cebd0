"""The photographs and models that lie beside the checkout where the project is developed; absent elsewhere."""

from pathlib import Path

import pytest

_beside = Path(__file__).resolve().parents[2] / "shared"
SHARED = _beside if (_beside / "models").is_dir() else None
needs_shared = pytest.mark.skipif(SHARED is None, reason="../shared is not beside the checkout")
