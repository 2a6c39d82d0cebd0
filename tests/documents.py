"""The commands that the documents show, and what becomes of each in the tests."""
# ruff: noqa: E501  # a command stands here as the documents have it

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).parents[1]
DOCUMENTS = [TOP / "README.md", TOP / "CONTRIBUTING.md", *sorted((TOP / "docs").glob("*.md")), TOP / "models/training/README.md"]
_TOOLS = {
    "edged", ".venv/bin/edged", "sudo", "make", "systemctl", "journalctl", "mosquitto_sub", "mosquitto_pub", "python", "pytest", "git", "apt",
}  # fmt: skip
_COLUMN_OF_PROSE = re.compile(r"\s{2,}\S.*$")  # in blocks without a language, what a command is for stands behind it


@dataclass(frozen=True)
class RunHere:
    """Run by tests/e2e/test_documented_commands.py as it stands, beside a daemon in the real places. options: added at its end.

    says: what must be in its output.
    """

    says: str = ""
    options: str = ""
    code: int | None = 0  # None: 0 or 1


@dataclass(frozen=True)
class RunBy:
    """Run by another test, whose file holds these words of it."""

    test: str
    words: str


@dataclass(frozen=True)
class NotRun:
    why: str


def commands_of(document: Path) -> list[str]:
    """Each command of its blocks, without comments and what is only shown as output."""
    found = []
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL):
        if language not in ("", "sh", "bash", "console"):
            continue
        for line in block.splitlines():
            if language == "console" and not line.startswith("$ "):
                continue
            text = (
                line.removeprefix("$ ").partition(" #")[0] if "'" not in line.partition(" #")[0].partition("'")[2] else _cut(line)
            )
            text = (_COLUMN_OF_PROSE.sub("", text) if not language else text).strip()
            if text and (language or text.split()[0] in _TOOLS):
                found.append(text)
    return found


def _cut(line: str) -> str:
    """Without the comment; a # inside of quotation marks is none."""
    lexer = shlex.shlex(line, posix=False, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters = True, "#"
    words = list(lexer)
    return " ".join(words)


_TRAINING = NotRun("needs photographs and published models, and hours; tests/training runs the scripts on little of both")
_NEEDS_PACKAGE = "tests/beds/package/life"
_BY_SYSTEMD = "tests/beds/test_systemd.py"
_FOR_A_PERSON = NotRun("opens an editor, for what only a person knows")
_NEEDS_ARM64 = RunBy("tests/beds/test_arm64.py", "arm64")
_SUB = "-C 1 -W 30"

COMMANDS: dict[str, RunHere | RunBy | NotRun] = {
    # README.md and CONTRIBUTING.md
    "make run": RunBy("tests/beds/test_fresh.py", "make run"),
    "make test": RunBy("tests/beds/test_fresh.py", "make test"),
    "make quick": RunBy(".ci/run", "make check"),
    "make help": RunHere("make bed-systemd"),
    ".venv/bin/edged init": RunBy("tests/contract/commands/test_init.py", 'edged("init", cwd=tmp_path)'),
    ".venv/bin/edged run -c edged.toml": RunBy("tests/e2e/running.py", '"-m", "edged", "run", "-c"'),
    ".venv/bin/edged watch -c edged.toml": RunBy(
        "tests/e2e/test_desk.py::test_watch_takes_broker_and_device_of_a_config", '"watch", "-c"'
    ),
    "mosquitto_sub -h localhost -t 'edged/door/label'": RunHere("none", _SUB),
    "mosquitto_sub -h localhost -t 'edged/door/event'": RunHere('"event_type"', _SUB),
    "mosquitto_sub -h localhost -v -t 'edged/door/#'": RunHere("edged/door/", _SUB),
    "mosquitto_pub -h localhost -t 'edged/door/control' -m '{\"action\": \"pause\"}'": RunHere(),
    "make deb ARCH=arm64 SUITE=trixie": _NEEDS_ARM64,
    "sudo apt install --no-install-recommends ./edged_…_arm64.deb": RunBy(_NEEDS_PACKAGE, "install --no-install-recommends"),
    "systemctl status edged": RunBy("tests/beds/test_instances.py", '"systemctl", "status", "edged"'),
    "edged watch -h localhost": RunHere("edged/door/result", "--seconds 3"),
    "sudo edged doctor": RunHere("ok", code=None),
    "sudo edged status": RunHere("device    door (edged "),
    "sudo edged snapshot -o picture.jpg": RunHere("picture.jpg: "),
    "edged use home_0.25_96": RunHere("home_0.25_96 is in use"),
    "mosquitto_pub -h localhost -t 'edged/door/model/set' -m auto": RunHere(),
    "edged status; edged reload": RunHere("nothing changed"),
    # docs
    "edged check -c edged.toml": RunBy("tests/contract/commands/test_check.py", 'edged("check", "-c", path)'),
    "echo $?": RunBy("tests/contract/commands/test_check.py", "returncode"),
    "edged outbox list": RunHere(),
    "edged outbox retry ID|all": RunBy("tests/contract/commands/test_delivery.py", '"outbox"'),
    "edged outbox discard ID|all": RunBy("tests/contract/commands/test_delivery.py", '"outbox"'),
    "edged audit -h BROKER --seconds 3600": RunBy("tests/contract/commands/test_delivery.py", '"audit"'),
    "edged watch -h BROKER --json > capture": RunBy("tests/contract/commands/test_delivery.py", '"audit"'),
    "edged audit capture": RunBy("tests/contract/commands/test_delivery.py", '"audit"'),
    "edged replay --since 30m": RunHere(" will be sent again"),
    "edged status --openmetrics": RunHere("# EOF"),
    "edged status --prometheus --all": RunHere("# TYPE edged_frames_total counter"),
    "sudo systemctl enable --now edged-metrics.timer": NotRun(
        "node_exporter is not in the bed; the unit is read by systemd-analyze only"
    ),
    "mosquitto_sub -t 'edged/+/label' -v": RunHere("edged/door/label", _SUB),
    "mosquitto_sub -t 'edged/door/event' -q 1 -i hall -c": RunHere('"event_type"', _SUB),
    'mosquitto_pub -t edged/door/control -q 1 -m \'{"action": "pause"}\'': RunHere(),
    "edged status": RunHere("label     "),
    "sudo apt install mosquitto": NotRun("what a Debian does with its own packages is not ours to test"),
    "sudo cp docs/examples/bridge.conf /etc/mosquitto/conf.d/ && sudoedit /etc/mosquitto/conf.d/bridge.conf": RunBy(
        "tests/campaigns/test_bridge.py", "bridge"
    ),
    "sudo systemctl restart mosquitto": RunBy(_BY_SYSTEMD, '"systemctl", "restart", "mosquitto"'),
    "sudo apt install --no-install-recommends ./edged_<version>~deb13_arm64.deb": RunBy(
        _NEEDS_PACKAGE, "install --no-install-recommends"
    ),
    "sudo apt install python3-venv": RunBy("tests/beds/fresh/build", "python3-venv"),
    "sudo python3 -m venv --system-site-packages /opt/edged": RunBy("tests/e2e/test_service_command.py", '"-m", "venv"'),
    "make wheel": RunBy(".ci/run", 'pip" wheel'),
    "sudo /opt/edged/bin/pip install ./dist/edged-*.whl Bookworm: also 'numpy<2' 'opencv-python-headless<4.12'": RunBy(
        ".ci/run", 'pip" install'
    ),
    "sudo /opt/edged/bin/edged service install": RunBy("tests/e2e/test_service_command.py", '"service", "install"'),
    "make deb ARCH=arm64 SUITE=bookworm": _NEEDS_ARM64,
    "make bed-package bed-arm64": NotRun("runs the tests of two beds, which run without it too"),
    "journalctl -u edged -f": RunBy("tests/beds/machine.py", '"journalctl"'),
    "systemctl reload edged": RunBy(_BY_SYSTEMD, '"systemctl", "reload", "edged"'),
    "systemctl edit edged": _FOR_A_PERSON,
    "sudo install -m 600 /dev/null /etc/edged/mqtt_password && sudoedit /etc/edged/mqtt_password && sudo systemctl restart edged": _FOR_A_PERSON,
    "sudo install -m 600 /dev/null /etc/edged/camera_password && sudoedit /etc/edged/camera_password && "
    "sudo systemctl restart edged": _FOR_A_PERSON,
    "sudo edged init -c /etc/edged/front.toml --camera 1": NotRun("needs a second camera; init with a named one is tested"),
    "sudo systemctl enable --now edged@front": RunBy("tests/beds/test_instances.py", '"enable", "--now", "edged@front"'),
    "sudo edged status -c /etc/edged/front.toml": RunBy("tests/beds/test_instances.py", '"status", "-c", "/etc/edged/front.toml"'),
    # docs/page.md
    "sudo systemctl enable --now edged-page": RunBy(_BY_SYSTEMD, '"enable", "--now", "edged-page"'),
    "sudo edged page token": RunBy("tests/unit/page/test_access.py", "edged page token"),
    "ssh -L 8080:127.0.0.1:8080 pi@door": NotRun("needs a second machine"),
    'curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8080/api': RunBy("tests/e2e/test_page.py", "/api"),
    # docs/teach.md; its example is run as it stands
    **{
        command: RunBy("tests/e2e/test_teach_document.py", "re.findall")
        for command in (
            "python - <<'END'",
            "import importlib.resources, pathlib, cv2",
            'for name in ("brick", "grass", "gravel"):',
            'whole = cv2.imread(str(importlib.resources.files("skimage.data") / f"{name}.png"))',
            "for n in range(24):",
            "y, x = n // 6 * 128, n % 6 * 85",
            'folder = pathlib.Path("show" if n % 6 else "try", name)',
            "folder.mkdir(parents=True, exist_ok=True)",
            'cv2.imwrite(str(folder / f"{name}_{n:02}.png"), whole[y : y + 128, x : x + 85])',
            "END",
            "cat > edged.toml <<'END'",
            'device = "bench"',
            'state_folder = "state"',
            "[camera]",
            'kind = "pictures"',
            'source = "try/gravel"',
            "edged teach ground --label brick=show/brick --label grass=show/grass --label gravel=show/gravel -c edged.toml",
            "edged classify try/brick try/grass try/gravel -m ground -c edged.toml --top 1",
            "edged classify \"$(python -c 'import skimage; print(skimage.__path__[0])')/data/coffee.png\" -m ground -c edged.toml --top 1",
        )
    },
    "edged teach gate --label open=photos/open --label shut=photos/shut": RunBy("tests/campaigns/test_teach_kills.py", '"teach"'),
    "edged use gate": RunBy("tests/e2e/test_teach.py", '"use"'),
    "edged teach mark open": RunBy("tests/e2e/test_teach.py", '"mark"'),
    "edged teach marks": RunBy("tests/e2e/test_teach.py", '"marks"'),
    "edged teach gate --marked": RunBy("tests/contract/commands/test_teach.py", '"--marked"'),
    "edged teach forget open": RunBy("tests/e2e/test_teach.py", '"forget"'),
    # models/training/README.md
    "python banks.py --data PHOTOGRAPHS --models ..": _TRAINING,
    "python teaching.py --data PHOTOGRAPHS --models .. --base home_0.5_160 --draws 4": _TRAINING,
    "make -C ../.. training-test": _TRAINING,
    'P="--data PHOTOGRAPHS --work work"; B=PUBLISHED/mobilenet_v1_0.25_128_quant.tflite; N=home_0.25_128': _TRAINING,
    "python look.py $P --teachers PUBLISHED": _TRAINING,
    "python features.py $P --base $B --name $N --px 128": _TRAINING,
    "python head.py $P --base $B --name $N": _TRAINING,
    "python ship.py $P --base $B --name $N --px 128 --models .. --test": _TRAINING,
    "python tune.py $P --base $B --name $N --px 128 --to tuned --views 100000 --teacher work/home_1.0_160.says.npy": _TRAINING,
    "rm work/$N.trunk.tflite work/$N.*.npy": _TRAINING,
    "python checkpoint.py --base PUBLISHED/mobilenet_v1_0.5_128_quant.tflite --file ../home_0.5_128.tflite --views 38_400"
    " --to work/tuned.pt": RunBy("tests/training/test_checkpoint.py", "unpacked"),
    "python says.py --data PHOTOGRAPHS --to work/family.npy ../home_0.5_160.tflite ../home_1.0_160.tflite": RunBy(
        "tests/training/test_recipe.py", "says.py"
    ),
    "python tune.py $P --base $B --name $N --px 128 --from work/tuned.pt --to longer --views 320_000"
    " --teacher work/family.npy": RunBy("tests/training/test_recipe.py", "--from"),
    "python tune.py $P --base $B --name $N --px 128 --from work/tuned.pt --to longer --views 150_000"
    " --beside ../home_0.5_160.tflite --trust 0.5": RunBy("tests/training/test_recipe.py", "--beside"),
    "python features.py $P --base $B --name $N --px 128 --checkpoint work/tuned.pt": _TRAINING,
    "python head.py $P --base $B --name $N --checkpoint work/tuned.pt": _TRAINING,
    "python ship.py $P --base $B --name $N --px 128 --checkpoint work/tuned.pt --models .. --test": _TRAINING,
}
