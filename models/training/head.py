"""The last layers: fitted on cached features, in a minute.

    python head.py --data PHOTOGRAPHS --work WORK --base MODELS/mobilenet_v1_0.5_128_quant.tflite --name home_0.5_128
                   [--leave-out cal,voc] [--no-names] [--teacher WORK/NAME.says.npy] [--test]

Reads what features.py and look.py wrote. Writes WORK/NAME.head.pt and WORK/NAME.says.npy: what it says of every example,
of labelled ones as a fit that had not seen them (five folds). Prints figures on `val`, and on the strangers that choose `enter`.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from collection import SEED, Row, busts, is_left_out, listed
from features import load
from labels import IMAGENET, NEAR
from measure import accuracy, alarms, calibration_error, chosen_enter, recall, recall_at
from network import SURE
from strangers import BETWEEN
from torch import nn
from torch.nn import functional as F

WITHIN = 0.006  # of mean + grouped on `val`
BUSTS = 1.0  # what all heads and shoulders count; a class counts 1


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


def targets(rows: list[Row], seen: np.ndarray) -> torch.Tensor:
    """(N, 8): the label; where nobody labelled, what the detector saw, and background for the rest."""
    label = np.array([row.label for row in rows])
    share = np.array([row.share for row in rows], np.float32)
    soft = np.zeros((len(rows), 8), np.float32)
    known = np.flatnonzero(label >= 0)
    soft[known, label[known]] = share[known]
    soft[known, 0] += 1 - share[known]
    unknown = np.flatnonzero(label < 0)
    best = seen[unknown].max(1)
    soft[unknown] = seen[unknown] / seen[unknown].sum(1, keepdims=True).clip(1e-6) * best[:, None]
    soft[unknown, 0] += 1 - best
    return torch.from_numpy(soft)


def weights(rows: list[Row], learn: np.ndarray, negatives: float, kinds: float = 0.2, people: float = 1.5) -> np.ndarray:
    """(N,): labelled classes count the same, small collections more by the photograph; unlabelled ones `negatives` together.

    people: how much more they count, being what it is bought for. kinds: how much less a photograph counts that has its
    class from its kind; a thousand garbage trucks are not what a truck is.
    """
    label, source = np.array([row.label for row in rows]), np.array([row.collection for row in rows])
    kind = np.array([row.kind for row in rows])
    weight = np.zeros(len(rows), np.float32)
    known = learn & (label >= 0)
    for name in set(source[known]):
        here = known & (source == name)
        weight[here] = here.sum() ** -0.25 * (kinds if name in ("imagenette", "caltech", "sceneroom") else 1)
    for n in range(8):
        here = known & (label == n)
        weight[here] /= max(weight[here].sum(), 1e-9)
    weight[known & (label == 1)] *= people
    unknown = learn & (label < 0) & ~np.isin(kind, BETWEEN)
    if unknown.any():
        weight[unknown] = negatives / unknown.sum()
    return weight


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
    rounds: int = 16,
    decay: tuple[float, float] = (0.1, 3.0),
) -> Head:
    torch.manual_seed(SEED)
    head = Head(f, meaning, names)
    weight = weight / weight.mean()
    step = torch.optim.AdamW(
        [{"params": head.linear.parameters(), "weight_decay": decay[0]}, {"params": [head.change], "weight_decay": decay[1]}],
        lr=2e-3,
    )
    for n in range(rounds):
        for group in step.param_groups:
            group["lr"] = 3e-3 * min(1.0, (rounds - n) / (0.5 * rounds))
        for batch in torch.randperm(len(f)).split(256):
            loss = (-(soft[batch] * F.log_softmax(head(f[batch], p[batch]), 1)).sum(1) * weight[batch]).mean()
            step.zero_grad()
            loss.backward()
            step.step()
    return head.eval()


def balanced(logits: torch.Tensor, label: np.ndarray) -> float:
    """What is added to the background's logit, 0 to -1.2: the many negatives of the fit make it more likely than it is.

    The lowest that is about as good as the best: against strangers `enter` guards, not the background's score.
    """

    def of(bias: float) -> float:
        scores = torch.cat([logits[:, :1] + bias, logits[:, 1:]], 1).softmax(1).numpy()
        found = accuracy(scores, label)
        return float(found["mean"]) + float(found["grouped"])  # type: ignore[arg-type]

    tried = {-0.1 * n: of(-0.1 * n) for n in range(13)}
    return min(bias for bias, good in tried.items() if good >= max(tried.values()) - WITHIN)


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
    ask.add_argument("--no-names", action="store_true")
    ask.add_argument("--teacher", type=Path, help="what another network says of every example; mixed into the targets")
    ask.add_argument("--trust", type=float, default=0.3)
    ask.add_argument("--negatives", type=float, default=1.5)
    ask.add_argument("--kinds", type=float, default=0.2)
    ask.add_argument("--background", type=float, help="what is added to the background's logit; else chosen on `val`")
    ask.add_argument("--people", type=float, default=1.5)
    ask.add_argument("--surfaces", type=float, default=1.0)
    ask.add_argument("--hard", type=float, default=2.0, help="what the family's own certain mistakes count more in the second fit")
    ask.add_argument("--to", help="name of what is written, if not NAME")
    ask.add_argument("--rounds", type=int, default=16)
    ask.add_argument("--decay", type=float, nargs=2, help="of the weights over features, and of what changes the names' meaning")
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
    weight = torch.from_numpy(weights(rows, learn, a.negatives, a.kinds, a.people))
    trained = np.flatnonzero(split == "train")  # the rows of `more`, before its surfaces
    surfaces = len(more) - len(trained)
    decay = tuple(a.decay) if a.decay else (0.1 * (f.shape[1] / 256) ** 1.5, 3.0)  # more features have more ways to be too sure
    use = np.flatnonzero(weight.numpy() > 0)
    again = np.flatnonzero(weight.numpy()[trained] > 0)

    def examples(use: np.ndarray, again: np.ndarray) -> tuple[torch.Tensor, ...]:
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
                    weight[trained[again]] * 0.6,
                    torch.full((surfaces,), a.surfaces / max(surfaces, 1)),
                    torch.full((len(people_f),), BUSTS / max(len(people_f), 1)),
                ]
            ),
        )

    def fitted(use: np.ndarray, again: np.ndarray) -> Head:
        fx, px, sx, wx = examples(use, again)
        calm = sx[:, 1] < 0.3
        meaning = rule(px[sx[:, 1] > 0.9].mean(0), px[calm & (sx[:, 0] > 0.7)].mean(0))
        first = fit(fx, px, sx, wx, meaning, not a.no_names, a.rounds, decay)
        with torch.no_grad():
            says = first(fx, px).softmax(1)
        wrong = (sx[:, 0] > 0.8) * says[:, 1:].amax(1)  # mined: what it names though nothing of ours is there
        return fit(fx, px, sx, wx * (1 + a.hard * wrong * (wrong > 0.3)), meaning, not a.no_names, a.rounds, decay)

    head = fitted(use, again)
    with torch.no_grad():
        logits = head(f, p)
    val, calibration = np.flatnonzero((split == "val") & ~out), np.flatnonzero(split == "calibration")
    bias = balanced(logits[val], label[val]) if a.background is None else a.background
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
        rest = np.flatnonzero(
            out & (label >= 0) & np.isin(split, ("train", "val", "test")) & np.array([r.part == (0, 0, 1, 1) for r in rows])
        )
        rest = np.array([n for n in rest if rows[n].collection in a.leave_out.split(",")])
        found["left_out"] = accuracy(scores[rest], label[rest]) | {"photographs": len(rest)}
    if a.folds:
        known = np.flatnonzero(learn & (label >= 0))
        fold = np.random.default_rng(SEED).integers(0, a.folds, len(rows))
        for n in range(a.folds):
            part = fitted(
                use[~((label[use] >= 0) & (fold[use] == n))], again[~((label[trained[again]] >= 0) & (fold[trained[again]] == n))]
            )
            here = known[fold[known] == n]
            with torch.no_grad():
                part_logits = part(f[here], p[here])
                part_logits[:, 0] += bias
                scores[here] = (part_logits * k).softmax(1).numpy()
    to = a.to or a.name
    np.save(a.work / f"{to}.says.npy", scores.astype(np.float16))
    kept = head.folded()
    kept["bias"][0] += bias
    torch.save(kept | {"factor": k}, a.work / f"{to}.head.pt")
    (a.work / f"{to}.val.json").write_text(json.dumps(found))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
