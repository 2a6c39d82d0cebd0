"""The last layers: fitted on cached features, in a minute.

    python head.py --data PHOTOGRAPHS --work WORK --base MODELS/mobilenet_v1_0.5_128_quant.tflite --name home_0.5_128
                   [--recipe even|people|even,people] [--closed 0.4] [--leave-out cal,voc] [--teacher WORK/NAME.says.npy]

Reads what features.py and look.py wrote. Writes WORK/NAME.head.pt and WORK/NAME.says.npy: what it says of every example,
of labelled ones as a fit that had not seen them (five folds). Prints figures on `val`, and on the strangers that choose `enter`.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from collection import SEED, WHOLE, Row, busts, is_left_out, listed
from counts import KINDS, RECIPES, Recipe, even_weights, targets, weights
from features import load
from labels import IMAGENET, NEAR
from measure import accuracy, alarms, calibration_error, chosen_enter, recall, recall_at
from network import SURE
from torch import nn
from torch.nn import functional as F

ROUNDS, WORN, HARD = 16, 0.6, 2.0  # what second views count, and what the fit's own certain mistakes count more


MEANING_DECAY, CLOSED_DECAY = 3.0, 3.0


def rule(people: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """(8, 1001): what the names mean before anything is fitted; people, others (1001,): how often each name comes up for them.

    ImageNet has no person. What it calls one instead (barbell, jersey, tricycle) is no evidence of a background.
    """
    meaning = torch.zeros(8, 1001)
    meaning[0] = 1
    meaning[0, NEAR] = 0
    for label, names in IMAGENET.items():
        meaning[0, names] = 0
        meaning[label, names] = 1
    lean = people / (people + others + 2e-4)
    meaning[0] *= (1.2 - 1.6 * lean).clamp(0, 1)
    meaning[1] = ((lean - 0.6) * 2).clamp(0, 1) * (meaning[2:].sum(0) == 0)
    return meaning


class Head(nn.Module):
    def __init__(self, features: torch.Tensor, meaning: torch.Tensor, names: bool) -> None:
        super().__init__()
        self.mean, self.spread = features.mean(0), features.std(0) + 0.05
        self.linear, self.change = nn.Linear(features.shape[1], 8), nn.Parameter(torch.zeros(8, 1001), requires_grad=names)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.rule = meaning * names

    def forward(self, f: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
        return self.linear((f - self.mean) / self.spread) + SURE * (p @ (self.rule + self.change).T)

    def folded(self) -> dict[str, torch.Tensor]:
        """For the network: over plain features."""
        with torch.no_grad():
            weight = self.linear.weight / self.spread
            return {"weight": weight, "bias": self.linear.bias - weight @ self.mean, "meaning": SURE * (self.rule + self.change)}


def fit(
    f: torch.Tensor,
    p: torch.Tensor,
    soft: torch.Tensor,
    weight: torch.Tensor,
    meaning: torch.Tensor,
    names: bool,
    decay: tuple[float, float],
) -> Head:
    torch.manual_seed(SEED)
    head = Head(f, meaning, names)
    weight = weight / weight.mean()
    step = torch.optim.AdamW(
        [{"params": head.linear.parameters(), "weight_decay": decay[0]}, {"params": [head.change], "weight_decay": decay[1]}],
        lr=2e-3,
    )
    for n in range(ROUNDS):
        for group in step.param_groups:
            group["lr"] = 3e-3 * min(1.0, (ROUNDS - n) / (0.5 * ROUNDS))
        for batch in torch.randperm(len(f)).split(256):
            loss = (-(soft[batch] * F.log_softmax(head(f[batch], p[batch]), 1)).sum(1) * weight[batch]).mean()
            step.zero_grad()
            loss.backward()
            step.step()
    return head.eval()


def blended(kept: dict[str, torch.Tensor], other: dict[str, torch.Tensor], share: float) -> dict[str, torch.Tensor]:
    """One set of last layers that says the mean of what two say, `other` with this share: both are sums over the same features."""
    return {name: (1 - share) * kept[name] + share * other[name] for name in kept}


def said(kept: dict[str, torch.Tensor], f: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    """Logits (N, 8) of features (N, D) and of the names' probabilities (N, 1001)."""
    return f @ kept["weight"].T + kept["bias"] + p @ kept["meaning"].T


def balanced(logits: torch.Tensor, label: np.ndarray, strangers: torch.Tensor) -> float:
    """What is added to the background's logit, 0 to -1.2: the many negatives of the fit make it more likely than it is.

    What gives the best sum of mean, grouped and the recall at 5 % of strangers named.
    """

    def of(bias: float) -> float:
        scores, strange = (torch.cat([x[:, :1] + bias, x[:, 1:]], 1).softmax(1).numpy() for x in (logits, strangers))
        found = accuracy(scores, label)
        return float(found["mean"]) + float(found["grouped"]) + recall_at(scores, label, strange)  # type: ignore[arg-type]

    return max((-0.1 * n for n in range(13)), key=of)


def calibrated(logits: torch.Tensor, label: torch.Tensor, strangers: torch.Tensor) -> float:
    """The factor by which scores are as sure as they are right; strangers count a third."""
    nothing = torch.zeros(len(strangers), dtype=torch.long)

    def of(k: float) -> float:
        ours = float(F.cross_entropy(logits * k, label))
        return 2 * ours + float(F.cross_entropy(strangers * k, nothing)) if len(strangers) else ours

    return min(torch.linspace(0.5, 2.5, 101).tolist(), key=of)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "work", "base"):
        ask.add_argument(f"--{name}", type=Path, required=True)
    ask.add_argument("--name", required=True)
    ask.add_argument("--checkpoint", type=Path)
    ask.add_argument("--leave-out", default="")
    ask.add_argument("--teacher", type=Path, help="what another network says of every example; mixed into the targets")
    ask.add_argument("--trust", type=float, default=0.3)
    ask.add_argument("--recipe", default="even", help=f"of {', '.join(RECIPES)}; several with a comma: the mean of their fits")
    ask.add_argument("--closed", type=float, help="another share of the closed fits than the recipe's")
    ask.add_argument("--to", help="name of what is written, if not NAME")
    ask.add_argument("--folds", type=int, default=0, help="5: also write what it says of examples that it had not seen")
    a = ask.parse_args()
    torch.set_num_threads(1)
    rows = listed(a.data)
    split, label = np.array([row.split for row in rows]), np.array([row.label for row in rows])
    out = is_left_out(rows, a.leave_out)
    learn = (split == "train") & ~out
    net = load(a.base, a.checkpoint)
    step = net.names.weight.abs().max() / 127  # as the file will hold them
    names, bias = (net.names.weight / step).round() * step, net.names.bias
    named = lambda f: torch.cat([F.linear(part, names, bias).softmax(1) for part in f.split(1024)])  # noqa: E731
    with torch.no_grad():
        f = torch.from_numpy(np.load(a.work / f"{a.name}.features.npy").astype(np.float32))
        more = torch.from_numpy(np.load(a.work / f"{a.name}.more.npy").astype(np.float32))
        alone = a.work / f"{a.name}.aloft.npy"
        if alone.exists() and not is_left_out([Row("", (0, 0, 1, 1), 0, 1, "caltech", "")], a.leave_out)[0]:  # made of its things
            more = torch.cat([more, torch.from_numpy(np.load(alone).astype(np.float32))])
        p, more_p = named(f), named(more)
        people = busts(a.data)
        people_f = torch.from_numpy(np.load(a.work / f"{a.name}.busts.npy").astype(np.float32)) if people else f[:0]
        people_f = people_f[torch.from_numpy(~is_left_out(people, a.leave_out))] if people else people_f
        people_p = named(people_f) if len(people_f) else p[:0]
    look = a.work / "look.npz"
    soft = targets(rows, np.load(look)["seen"] if look.exists() else np.zeros((len(rows), 8), np.float32))
    if a.teacher:
        says = torch.from_numpy(np.load(a.teacher).astype(np.float32))
        soft = (1 - a.trust) * soft + a.trust * says
    if unknown := set(a.recipe.split(",")) - set(RECIPES):
        raise SystemExit(f"--recipe {a.recipe}: there is no {', '.join(sorted(unknown))}; choose of {', '.join(RECIPES)}")
    recipes = [RECIPES[name] for name in a.recipe.split(",")]

    def weighed(recipe: Recipe) -> torch.Tensor:
        if recipe.even:
            return torch.from_numpy(even_weights(rows, learn, recipe.negatives, recipe.from_kind))
        return torch.from_numpy(weights(rows, learn, recipe.negatives, recipe.from_kind, recipe.people))

    trained = np.flatnonzero(split == "train")  # the rows of `more`, before its surfaces
    surfaces = len(more) - len(trained)
    counted = weighed(recipes[0]).numpy() > 0  # the same examples in all recipes
    use, again = np.flatnonzero(counted), np.flatnonzero(counted[trained])

    def examples(recipe: Recipe, use: np.ndarray, again: np.ndarray) -> tuple[torch.Tensor, ...]:
        weight = weighed(recipe)
        bare = np.arange(len(trained), len(more))
        back = F.one_hot(torch.zeros(surfaces, dtype=torch.long), 8).float()
        person = F.one_hot(torch.ones(len(people_f), dtype=torch.long), 8).float()
        return (
            torch.cat([f[use], more[again], more[bare], people_f]),
            torch.cat([p[use], more_p[again], more_p[bare], people_p]),
            torch.cat([soft[use], soft[trained[again]], back, person]),
            torch.cat(
                [
                    weight[use],
                    weight[trained[again]] * WORN,
                    torch.full((surfaces,), recipe.surfaces / max(surfaces, 1)),
                    torch.full((len(people_f),), recipe.busts / max(len(people_f), 1)),
                ]
            ),
        )

    plain = np.array([row.part == WHOLE and row.collection not in KINDS for row in rows]) & (label >= 0)

    def fitted(use: np.ndarray, again: np.ndarray) -> dict[str, torch.Tensor]:
        """The mean of the recipes; one that is named twice counts twice."""
        fits = {recipe: by(recipe, use, again) for recipe in dict.fromkeys(recipes)}
        mean = fits[recipes[0]]
        for n, recipe in enumerate(recipes[1:], 2):
            mean = blended(mean, fits[recipe], 1 / n)
        return mean

    def by(recipe: Recipe, use: np.ndarray, again: np.ndarray) -> dict[str, torch.Tensor]:
        """The open fit, which knows of strangers, blended with a closed one, which tells the classes apart better."""
        fx, px, sx, wx = examples(recipe, use, again)
        decay = (recipe.decay(f.shape[1]), MEANING_DECAY)
        calm = sx[:, 1] < 0.3
        meaning = rule(px[sx[:, 1] > 0.9].mean(0), px[calm & (sx[:, 0] > 0.7)].mean(0))
        first = fit(fx, px, sx, wx, meaning, True, decay)
        with torch.no_grad():
            says = first(fx, px).softmax(1)
        wrong = (sx[:, 0] > 0.8) * says[:, 1:].amax(1)  # mined: what it names though nothing of ours is there
        open_ = fit(fx, px, sx, wx * (1 + HARD * wrong * (wrong > 0.3)), meaning, True, decay)
        known = use[plain[use]]
        sure = F.one_hot(torch.from_numpy(label[known]), 8).float()
        seen = len(people_f) if recipe.closed_people > 1 else 0
        person = F.one_hot(torch.ones(seen, dtype=torch.long), 8).float()
        count = torch.cat([1 + (recipe.closed_people - 1) * sure[:, 1], torch.ones(seen)])
        closed = fit(
            torch.cat([f[known], people_f[:seen]]), torch.cat([p[known], people_p[:seen]]), torch.cat([sure, person]), count,
            torch.zeros_like(meaning), False, (CLOSED_DECAY, MEANING_DECAY),
        )  # fmt: skip
        return blended(open_.folded(), closed.folded(), recipe.closed if a.closed is None else a.closed)

    kept = fitted(use, again)
    logits = said(kept, f, p)
    val, calibration = np.flatnonzero((split == "val") & ~out), np.flatnonzero(split == "calibration")
    bias = balanced(logits[val], label[val], logits[calibration])
    logits[:, 0] += bias
    k = calibrated(logits[val], torch.from_numpy(label[val]), logits[calibration])
    scores = (logits * k).softmax(1).numpy()
    enter = chosen_enter(scores[calibration])
    found = {
        "name": a.to or a.name,
        "k": round(k, 3),
        "background": round(bias, 1),
        "enter": enter,
        "val": accuracy(scores[val], label[val]),
    }
    found["recall_val"] = round(recall(scores[val], label[val], enter), 3)
    found["ece_val"] = calibration_error(scores[val], label[val])
    found["recall_at_5"] = recall_at(scores[val], label[val], scores[calibration])
    found["alarms_06"] = round(alarms(scores[calibration], 0.6), 3)
    if out.any():
        rest = np.flatnonzero([row.part == WHOLE and row.collection in a.leave_out.split(",") for row in rows])
        rest = rest[(label[rest] >= 0) & np.isin(split[rest], ("train", "val", "test"))]
        found["left_out"] = accuracy(scores[rest], label[rest]) | {"photographs": len(rest)}
    if a.folds:
        known = np.flatnonzero(learn & (label >= 0))
        fold = np.random.default_rng(SEED).integers(0, a.folds, len(rows))
        for n in range(a.folds):
            part = fitted(
                use[~((label[use] >= 0) & (fold[use] == n))], again[~((label[trained[again]] >= 0) & (fold[trained[again]] == n))]
            )
            here = known[fold[known] == n]
            part["bias"][0] += bias
            scores[here] = (said(part, f[here], p[here]) * k).softmax(1).numpy()
    to = a.to or a.name
    np.save(a.work / f"{to}.says.npy", scores.astype(np.float16))
    kept["bias"][0] += bias
    torch.save(kept | {"factor": k}, a.work / f"{to}.head.pt")
    (a.work / f"{to}.val.json").write_text(json.dumps(found))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
