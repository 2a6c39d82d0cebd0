"""How long a campaign is: short in CI, in full with EDGED_CAMPAIGN=full, or exactly EDGED_CAMPAIGN_COUNT; and its figures."""

import json
import os
from pathlib import Path
from typing import Any

SEED = int(os.environ.get("EDGED_CAMPAIGN_SEED", "1"))
FIGURES = Path(__file__).parents[2] / "build" / "figures"


def count(short: int, full: int) -> int:
    if exact := os.environ.get("EDGED_CAMPAIGN_COUNT"):
        return int(exact)
    return full if os.environ.get("EDGED_CAMPAIGN") == "full" else short


def report(name: str, figures: dict[str, Any]) -> None:
    """Print the figures and keep them in build/figures/NAME.json."""
    FIGURES.mkdir(parents=True, exist_ok=True)
    (FIGURES / f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(f"\n{name}: {json.dumps(figures)}")
