"""The models that are here, and what they took on this board, for people: nothing is measured for it."""

from dataclasses import replace
from typing import Any

from edged.errors import ModelError
from edged.models.card import Card
from edged.models.fit.choice import Budget
from edged.models.fit.fit import Fitting, NotMeasuredError
from edged.models.store import Held, Store


def load_table(store: Store, fitting: Fitting, family: str, budget: Budget) -> dict[str, Any]:
    """{"rows", "fit": what `edged fit --json` prints or None, "note": a sentence where not all is known}.

    Reads the family's files: takes a moment. Any thread.
    """
    note, told, rows = "", None, dict[str, dict[str, Any]]()
    try:
        told = fitting.recall(family, budget).to_json()
        rows = {row["name"]: row for row in told["candidates"]}
    except NotMeasuredError:
        note = "not all of them were measured on this board yet: sudo edged fit"
        nothing = replace(budget, min_top1=2.0)  # rules all of them out, so that what was measured is told and no more
        rows = {row["name"]: row for row in fitting.recall(family, nothing).to_json()["candidates"]}
    except ModelError as error:
        note = str(error)
    return {"rows": [_row(held, rows.get(held.card.name, {})) for held in store.held()], "fit": told, "note": note}


def _row(held: Held, told: dict[str, Any]) -> dict[str, Any]:
    card: Card = held.card
    row = {"name": card.name, "family": card.family, "top1": card.top1, "px": card.px, "million_macs": card.million_macs}
    row |= {key: told.get(key) for key in ("size_mb", "p50_ms", "p95_ms", "memory_mb")}
    is_measured = told.get("p95_ms") is not None
    return row | {"fits": told.get("fits") if is_measured else None, "why_not": told.get("why_not", "") if is_measured else ""}
