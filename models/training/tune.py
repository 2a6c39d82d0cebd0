"""Trains a published network further: all layers but the first few, for the eight classes and for the 1001 names at once.

    python tune.py --data PHOTOGRAPHS --work WORK --base MODELS/mobilenet_v1_0.25_128_quant.tflite --name home_0.25_128
                   --to tuned_0.25_128
                   --px 128 --views 100_000 [--teacher WORK/NAME.says.npy] [--leave-out cal,voc] [--from WORK/shipped.pt]
                   [--beside ../home_0.5_160.tflite]

Begins with the head that head.py fitted on the untouched network (WORK/NAME.head.pt), or with all of --from, a checkpoint of
tune.py or checkpoint.py. The names are distilled from that network's
own answer to the same view, so that they and the features stay general. `--teacher` said once what the whole photograph shows;
the files of `--beside` say it of each view, cut and dark as it is. Writes WORK/TO.pt (the running average of the weights is
what counts) every 200 steps and goes on from it. Afterwards: features.py --checkpoint, head.py --checkpoint: the head anew.
"""

import argparse
import copy
import json
import queue
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from collection import SEED, is_left_out, listed, stored
from convert import runner, side
from counts import targets, weights
from measure import accuracy, recall_at
from network import MobileNet
from published import published
from torch import nn
from torch.nn import functional as F
from views import blurred, cut, lit, surface

BATCH = 64
KEPT = 4  # so many first layers stay as published, if nothing else is asked for


class Lessons:
    """Batches without end: half labelled, half not, 1 in 40 a bare surface, small parts of backgrounds among them."""

    def __init__(
        self,
        pictures: np.ndarray,
        rows: list,
        soft: torch.Tensor,
        learn: np.ndarray,
        base: Path,
        trunk: Path,
        px: int,
        seed: int,
        beside: tuple[list[Path], float] = ([], 0.0),
    ) -> None:
        self.pictures, self.soft, self.px, self.rng = pictures, soft, px, np.random.default_rng(seed)
        weight = weights(rows, learn, 1.0, 1.0, 1.5).astype(np.float64)
        label = np.array([row.label for row in rows])
        self.groups = [np.flatnonzero((weight > 0) & known) for known in (label >= 0, label < 0)]
        self.groups = [g for g in self.groups if len(g)]
        self.chances = [weight[g] / weight[g].sum() for g in self.groups]
        self.labelled = label >= 0
        self.run = runner(trunk)
        net = published(base)
        self.names = net.names
        files, self.trust = beside
        self.beside = [(runner(path), side(path)) for path in files]
        self.seen_at = max([px, *(at for _, at in self.beside)])  # views are made for whoever sees most

    def next(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Views (B, 3, px, px) in -1..1, classes (B, 8), what the published network calls them (B, 1001)."""
        share = BATCH // len(self.groups)
        chosen = np.concatenate([self.rng.choice(g, share, p=c) for g, c in zip(self.groups, self.chances, strict=True)])
        soft, views, features = self.soft[chosen].clone(), [], []
        for n, row in enumerate(chosen):
            chance = self.rng.random()
            if chance < 0.025:
                view = surface(self.rng, self.seen_at)
                soft[n] = F.one_hot(torch.tensor(0), 8)
            else:
                little = soft[n, 0] > 0.9 and chance < 0.25  # a small part of a background is a background too
                view = blurred(self.rng, cut(self.rng, self.pictures[row], self.seen_at, 0.08 if little else 0.4))
            view = lit(self.rng, view)
            if self.beside:
                says = np.mean([run(as_bytes(sized(view, at))) for run, at in self.beside], 0)
                trust = self.trust if self.labelled[row] or chance < 0.025 else 1.0  # where nobody labelled, nobody knows better
                soft[n] = (1 - trust) * soft[n] + trust * torch.from_numpy(says)
            views.append(sized(view, self.px))
            features.append(self.run(as_bytes(views[-1])))
        with torch.no_grad():
            called = self.names(torch.from_numpy(np.stack(features))).softmax(1)
        return torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2).contiguous(), soft, called


def sized(view: np.ndarray, px: int) -> np.ndarray:
    return view if view.shape[0] == px else cv2.resize(view, (px, px), interpolation=cv2.INTER_AREA)


def as_bytes(view: np.ndarray) -> np.ndarray:
    return ((view + 1) * 127.5).round().astype(np.uint8)


def begun(net: MobileNet, head: Path, kept: int, of: Path | None = None) -> tuple[MobileNet, int]:
    """With the fitted head, or as the checkpoint `of` has it; and the steps that this one was trained with.

    The names, what they mean and the first `kept` layers are not trained.
    """
    steps = 0
    if of:
        saved = torch.load(of, weights_only=True)
        net.load_state_dict(saved["average"])
        steps = saved["done"] + saved.get("before", 0)
    else:
        saved = torch.load(head, weights_only=True)
        net.head.weight.data.copy_(saved["weight"])
        net.head.bias.data.copy_(saved["bias"])
        net.meaning.weight.data.copy_(saved["meaning"])
    net.kept = kept
    for part in (*net.layers[:kept], net.names, net.meaning):
        part.requires_grad_(False)
    return net, steps


@torch.no_grad()
def scored(net: MobileNet, pictures: np.ndarray, rows: np.ndarray, px: int) -> np.ndarray:
    made = []
    for part in np.array_split(rows, max(1, len(rows) // 64)):
        x = np.stack([cv2.resize(pictures[n], (px, px), interpolation=cv2.INTER_AREA) for n in part])
        made.append(net(torch.from_numpy(x).permute(0, 3, 1, 2).float() / 127.5 - 1)[0].softmax(1))
    return torch.cat(made).numpy()


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "work", "base"):
        ask.add_argument(f"--{name}", type=Path, required=True)
    ask.add_argument("--name", required=True, help="whose trunk, head and size are begun with")
    ask.add_argument("--to", required=True)
    ask.add_argument("--px", type=int, required=True)
    ask.add_argument("--views", type=int, required=True)
    ask.add_argument("--head", help="another head to begin with than NAME's")
    ask.add_argument(
        "--from", dest="of", type=Path, help="a checkpoint to begin with, head and all, instead of the published network"
    )
    ask.add_argument("--rate", type=float, default=6e-4)
    ask.add_argument("--names", type=float, default=1.0, help="what the distillation of the names counts")
    ask.add_argument("--teacher", type=Path)
    ask.add_argument("--beside", type=Path, nargs="+", default=[], help="files of the family that say what each view shows")
    ask.add_argument("--trust", type=float, default=0.3, help="what a teacher's word counts beside the label")
    ask.add_argument("--kept", type=int, default=KEPT, help="so many first layers stay as published; the more, the faster")
    ask.add_argument("--leave-out", default="")
    a = ask.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    cv2.setNumThreads(1)
    torch.manual_seed(SEED)
    rows = listed(a.data)
    pictures = stored(a.data, a.work, rows)
    split, label = np.array([row.split for row in rows]), np.array([row.label for row in rows])
    out = is_left_out(rows, a.leave_out)
    look = a.work / "look.npz"
    soft = targets(rows, np.load(look)["seen"] if look.exists() else np.zeros((len(rows), 8), np.float32))
    if a.teacher:
        soft = (1 - a.trust) * soft + a.trust * torch.from_numpy(np.load(a.teacher).astype(np.float32))
    val = np.flatnonzero((split == "val") & ~out)
    strangers = np.flatnonzero(split == "calibration")[::4]

    net, before = begun(published(a.base), a.work / f"{a.head or a.name}.head.pt", a.kept, a.of)
    average = copy.deepcopy(net)
    moving = [p for p in net.parameters() if p.requires_grad]
    step = torch.optim.AdamW(moving, lr=a.rate, weight_decay=0.0)
    checkpoint, done = a.work / f"{a.to}.pt", 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        net.load_state_dict(saved["net"])
        average.load_state_dict(saved["average"])
        step.load_state_dict(saved["step"])
        done = saved["done"]
        print(f"goes on after {done * BATCH} views", flush=True)
    learn, trunk = (split == "train") & ~out, a.work / f"{a.name}.trunk.tflite"
    lessons = Lessons(pictures, rows, soft, learn, a.base, trunk, a.px, SEED + done, (a.beside, a.trust))
    ready: queue.Queue = queue.Queue(3)
    stop = threading.Event()

    def feed() -> None:
        while not stop.is_set():
            ready.put(lessons.next())

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    steps, losses, began = a.views // BATCH, [], time.monotonic()
    while done < steps:
        for group in step.param_groups:
            group["lr"] = a.rate * min(1.0, (done + 1) / 100) * min(1.0, (1 - done / steps) / 0.4)
        x, wanted, called = ready.get()
        logits, names = net(x)
        loss = -(wanted * F.log_softmax(logits, 1)).sum(1).mean()
        apart = F.kl_div(F.log_softmax(names, 1), called, reduction="batchmean")
        step.zero_grad()
        (loss + a.names * apart).backward()
        nn.utils.clip_grad_norm_(moving, 5.0)
        step.step()
        done += 1
        losses.append((float(loss.detach()), float(apart.detach())))
        with torch.no_grad():
            keep = min(0.998, done / (done + 10))
            for old, new in zip(average.parameters(), net.parameters(), strict=True):
                if new.requires_grad:
                    old.lerp_(new, 1 - keep)
        if done % 200 == 0 or done == steps:
            line = {
                "views": done * BATCH,
                "seconds": round(time.monotonic() - began),
                "loss": round(float(np.mean(losses, 0)[0]), 3),
                "apart": round(float(np.mean(losses, 0)[1]), 3),
            }
            if done % 400 == 0 or done == steps:
                scores = scored(average, pictures, val, a.px)
                line["val"] = accuracy(scores, label[val])
                if len(strangers):
                    line["recall_at_5"] = recall_at(scores, label[val], scored(average, pictures, strangers, a.px))
            print(json.dumps(line), flush=True)
            losses = []
            half = checkpoint.with_suffix(".half")
            torch.save(
                {
                    "net": net.state_dict(),
                    "average": average.state_dict(),
                    "step": step.state_dict(),
                    "done": done,
                    "before": before,
                    "kept": a.kept,
                },
                half,
            )
            half.replace(checkpoint)
    stop.set()
    while feeder.is_alive():  # one that still works while the interpreter goes away would abort it
        while not ready.empty():
            ready.get()
        feeder.join(0.05)


if __name__ == "__main__":
    main()
