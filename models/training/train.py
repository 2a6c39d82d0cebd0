"""Trains one MobileNet of the home family; checkpoints every few minutes and resumes by itself.

    python train.py --work WORK --name home_0.25_96 --width 0.25 --px 96 --views 4_000_000 [--from CHECKPOINT] [--leave-out A,B]

Learning rate: short warm-up, constant, and a linear fall over the last fifth of the views, so that a longer run can
go on from any checkpoint before the fall. What is kept and shipped is the running average of the weights.
"""

import argparse
import copy
import json
import queue
import threading
import time
from pathlib import Path

import numpy as np
import torch
from labels import CLASSES, GROUPS
from lessons import Lessons, Photographs, load_photographs, soft_labels
from network import MobileNetV1
from torch.nn import functional as F

BATCH = 64


def views_of(photos: Photographs, rows: np.ndarray, px: int) -> torch.Tensor:
    x = torch.from_numpy(photos.pictures[rows]).permute(0, 3, 1, 2).float()
    x = F.interpolate(x, size=(px, px), mode="area") if px < x.shape[2] else x
    return (x / 127.5 - 1).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def scored(net: MobileNetV1, x: torch.Tensor) -> np.ndarray:
    net.eval()
    return torch.cat([net(part)[0].softmax(1) for part in x.split(64)]).numpy()


def figures(scores: np.ndarray, label: np.ndarray) -> dict[str, object]:
    """Mean of the per-class accuracies, accuracy over pictures, and the same when scores add up by group."""
    said = scores.argmax(1)
    per_class = {c: round(float((said[label == i] == i).mean()), 3) for i, c in enumerate(CLASSES) if (label == i).any()}
    groups = np.array(GROUPS)
    summed = np.stack([scores[:, groups == g].sum(1) for g in range(4)], 1)
    return {
        "mean": round(float(np.mean(list(per_class.values()))), 3),
        "pictures": round(float((said == label).mean()), 3),
        "grouped": round(float((summed.argmax(1) == groups[label]).mean()), 3),
        "per_class": per_class,
    }


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--work", type=Path, required=True)
    ask.add_argument("--name", required=True)
    ask.add_argument("--width", type=float, required=True)
    ask.add_argument("--px", type=int, required=True)
    ask.add_argument("--views", type=int, required=True)
    ask.add_argument("--rate", type=float, default=3e-3)
    ask.add_argument("--from", dest="start", type=Path, help="weights to begin with (another run's checkpoint)")
    ask.add_argument("--leave-out", default="", help="sources never learnt from; their own figure is reported")
    ask.add_argument("--threads", type=int, default=1, help="two waiting for each other lose more than they gain on a busy machine")
    a = ask.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)

    photos = load_photographs(a.work)
    left_out = np.isin(photos.source, a.leave_out.split(",")) & (photos.label >= 0)
    learn = (photos.split == "train") & ~left_out
    soft, teacher = soft_labels(photos, learn)
    print(json.dumps(teacher), flush=True)

    net = MobileNetV1(a.width, taught=1001).to(memory_format=torch.channels_last)
    kept = copy.deepcopy(net)
    step = torch.optim.AdamW(net.parameters(), lr=a.rate, weight_decay=0.02)
    steps, done, seconds = a.views // BATCH, 0, 0.0
    checkpoint = a.work / f"{a.name}.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        net.load_state_dict(saved["net"])
        kept.load_state_dict(saved["kept"])
        step.load_state_dict(saved["step"])
        done, seconds = saved["done"], saved["seconds"]
        print(f"resumed at {done * BATCH} views", flush=True)
    elif a.start:
        saved = torch.load(a.start, weights_only=True)
        net.load_state_dict(saved["kept"])
        kept.load_state_dict(saved["kept"])

    tests = {}
    for name in ("val", "test"):
        rows = np.flatnonzero((photos.split == name) & (photos.label >= 0) & ~left_out)
        tests[name] = (views_of(photos, rows, a.px), photos.label[rows])
    if left_out.any():
        rows = np.flatnonzero(left_out)
        tests["left_out"] = (views_of(photos, rows, a.px), photos.label[rows])

    lessons = Lessons(photos, learn, soft, a.px, BATCH, seed=done)
    ready: queue.Queue = queue.Queue(4)
    threading.Thread(target=lambda: [ready.put(lessons.next()) for _ in iter(int, 1)], daemon=True).start()

    began, losses, resting = time.monotonic(), [], []
    while done < steps:
        warm, fall = min(1.0, (done + 1) / 500), min(1.0, (steps - done) / (0.2 * steps))
        for group in step.param_groups:
            group["lr"] = a.rate * warm * fall
        x, target, taught = ready.get()
        net.train()
        named, vocabulary = net(x)
        loss = -(target * F.log_softmax(named, 1)).sum(1).mean()
        loss_taught = -(taught * F.log_softmax(vocabulary / 2, 1)).sum(1).mean()
        step.zero_grad()
        (loss + 0.5 * loss_taught).backward()
        step.step()
        done += 1
        losses.append(float(loss.detach()))
        resting.append(float(loss_taught.detach()))
        with torch.no_grad():
            keep = min(0.999, done / (done + 10))
            for old, new in zip(kept.state_dict().values(), net.state_dict().values(), strict=True):
                old.lerp_(new, 1 - keep) if old.dtype.is_floating_point else old.copy_(new)
        if done % 1000 == 0 or done == steps:
            seconds += time.monotonic() - began
            began = time.monotonic()
            result = {k: figures(scored(kept, x), y) for k, (x, y) in tests.items()}
            line = {
                "views": done * BATCH,
                "seconds": round(seconds),
                "loss": round(np.mean(losses), 3),
                "taught": round(np.mean(resting), 3),
            }
            print(json.dumps(line | result), flush=True)
            losses, resting = [], []
            half = checkpoint.with_suffix(".tmp")
            torch.save(
                {"net": net.state_dict(), "kept": kept.state_dict(), "step": step.state_dict(), "done": done, "seconds": seconds},
                half,
            )
            half.replace(checkpoint)


if __name__ == "__main__":
    main()
