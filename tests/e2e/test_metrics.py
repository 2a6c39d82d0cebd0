"""The metrics of `edged status`: linted by Debian's promtool, scraped by Debian's Prometheus, and equal to what health says.

Needs what tests/beds/prometheus/build unpacks, or a Prometheus on the PATH; without it all but the format itself is skipped.
"""

import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from edged.page.openmetrics import CONTENT_TYPE, to_openmetrics, to_text_format
from edged.system.figures import Histogram
from tests.e2e.running import HANG_S, edged_with, free_port, wait_for

BED = Path(os.environ.get("EDGED_BEDS", "/var/tmp/edged-beds"), "prometheus/root/usr/bin")
PATH = os.pathsep.join([os.environ["PATH"], str(BED)])
PROMETHEUS, PROMTOOL = shutil.which("prometheus", path=PATH), shutil.which("promtool", path=PATH)
DASHBOARD = json.loads((Path(__file__).parents[2] / "docs/examples/grafana-dashboard.json").read_text())
needs_prometheus = pytest.mark.skipif(
    PROMETHEUS is None or PROMTOOL is None, reason="no prometheus here; tests/beds/prometheus/build unpacks Debian's"
)


def ask(*words: object) -> str:
    command = [sys.executable, "-m", "edged", "status", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=True).stdout


@pytest.fixture
def status() -> dict:
    """With all that can be awkward: several reasons, quotation marks, faults of one kind twice, what nobody knows."""
    latencies = Histogram()
    for seconds in (0.0005, 0.003, 0.003, 0.4, 30.0):
        latencies.add(seconds)
    return {
        "device": "door",
        "version": "1",
        "board": 'Pi "5"\\x',
        "model": "m",
        "camera": "lost",
        "connected": False,
        "result_age_s": None,
        "inference_s": latencies.to_dict(),
        "health": {
            "uptime_s": 90_000.5,
            "temperature_c": 51.4,
            "throttled": True,
            "memory_mb": 40.1,
            "vision_memory_mb": 80.0,
            "fps": 4.98,
            "frames": {"captured": 10, "inferred": 5, "stale": 3, "busy": 2},
            "events": {"events": 9, "delivered": 4, "queued": 2, "dropped": {"quota": 2, "age": 1}},
            "results_dropped": {},
            "waiting_oldest_s": 3.5,
            "broker_connects": 1,
            "vision_restarts": 2,
            "commands_refused": 0,
            "log_lines_dropped": 0,
            "faults": [{"kind": "broker"}, {"kind": "camera"}, {"kind": "broker"}],
        },
    }


def test_both_formats_say_the_same_and_each_by_its_own_rules(status):
    opened, classic = to_openmetrics(status), to_text_format(status)
    assert opened.endswith("# EOF\n") and "# EOF" not in classic

    def samples(text: str) -> list[str]:
        return [line for line in text.splitlines() if not line.startswith("#")]

    assert samples(opened) == samples(classic)
    assert "# TYPE edged_frames counter" in opened and "# TYPE edged_frames_total counter" in classic
    assert "# UNIT edged_uptime_seconds seconds" in opened and "# UNIT" not in classic
    for line in (
        r'edged_build_info{device="door",version="1",board="Pi \"5\"\\x",model="m"} 1',
        'edged_frames_total{device="door",fate="stale"} 3',
        'edged_frames_captured_total{device="door"} 10',
        'edged_inference_duration_seconds_bucket{device="door",le="0.005"} 3',
        'edged_inference_duration_seconds_bucket{device="door",le="+Inf"} 5',
        'edged_inference_duration_seconds_count{device="door"} 5',
        'edged_events_dropped_total{device="door",reason="age"} 1',
        'edged_faults{device="door",kind="broker"} 2',
        'edged_memory_bytes{device="door",process="courier"} 40100000',
        'edged_camera_up{device="door"} 0',
    ):
        assert line in samples(opened)
    assert "edged_result_age_seconds" not in opened, "nobody knows it"
    two = to_openmetrics(status, status | {"device": "back"})
    assert two.count("# TYPE edged_frames counter") == 1 and 'edged_uptime_seconds{device="back"} 90000.5' in two


@needs_prometheus
def test_promtool_has_nothing_to_say(status):
    for text in (to_text_format(status), to_text_format(status, status | {"device": "back"})):
        done = subprocess.run(
            [PROMTOOL, "check", "metrics"], input=text, capture_output=True, text=True, timeout=HANG_S, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


class Served:
    """What a scraper gets, with the content type that belongs to it."""

    def __init__(self) -> None:
        self.texts: dict[str, tuple[str, str]] = {}
        texts = self.texts

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                kind, text = texts.get(self.path, ("", ""))
                self.send_response(200 if text else 404)
                self.send_header("Content-Type", kind)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    yield served
    served.close()


class Scraper:
    """A Prometheus of the test's own."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port = free_port()
        jobs = "".join(
            f"  - job_name: {name}\n    metrics_path: /{name}\n    static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n"
            for name in ("open", "classic")
        )
        config = folder / "prometheus.yml"
        config.write_text(f"global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n{jobs}")
        command = [PROMETHEUS, f"--config.file={config}", f"--storage.tsdb.path={folder}/tsdb"]
        log = (folder / "prometheus.log").open("w")
        self._process = subprocess.Popen(
            [*command, f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn"], stdout=log, stderr=log
        )

    def finds(self, expression: str) -> list[dict]:
        """`query`, asked again while there is nothing: a scrape that a busy machine held up takes away what was there."""
        return wait_for(lambda: self.query(expression), 30, f"finds nothing: {expression}")

    def query(self, expression: str) -> list[dict]:
        """Raises HTTPError for what is no query."""
        url = f"http://127.0.0.1:{self.port}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        with urllib.request.urlopen(url, timeout=HANG_S) as answer:
            told = json.load(answer)
        assert told["status"] == "success", told
        return told["data"]["result"]

    def is_up(self) -> bool:
        try:
            return len([one for one in self.query("up == 1") if one["metric"]["job"] in ("open", "classic")]) == 2
        except OSError:
            return False

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(HANG_S)


def counters(answer: dict) -> dict[str, float]:
    """By the name and the labels that Prometheus has them under."""
    health = answer["health"]
    found = {f"edged_frames_total {fate}": count for fate, count in health["frames"].items() if fate != "captured"}
    return found | {
        "edged_frames_captured_total ": health["frames"]["captured"],
        "edged_events_total ": health["events"]["events"],
        "edged_events_delivered_total ": health["events"]["delivered"],
        "edged_vision_restarts_total ": health["vision_restarts"],
        "edged_broker_connections_total ": health["broker_connects"],
        "edged_inference_duration_seconds_count ": answer["inference_s"]["count"],
    }


@needs_prometheus
def test_prometheus_scrapes_them_they_agree_with_health_and_the_dashboards_queries_find_them(tmp_path, config, heard, served):
    with edged_with(tmp_path, config) as running:
        wait_for(lambda: heard.of("event"), 60, "an event")
        option = ["-c", running.config]
        before = json.loads(ask("--json", *option))
        served.texts["/open"] = CONTENT_TYPE, ask("--openmetrics", *option)
        served.texts["/classic"] = "text/plain; version=0.0.4", ask("--prometheus", *option)
        file = tmp_path / "edged.prom"
        assert ask("--prometheus", "--all", "-o", file, *option) == "" and file.stat().st_mode & 0o777 == 0o644
        linted = subprocess.run([PROMTOOL, "check", "metrics"], stdin=file.open(), capture_output=True, text=True, check=False)
        assert (linted.returncode, linted.stderr) == (0, "")
        after = json.loads(ask("--json", *option))
        running.end()
    scraper = Scraper(tmp_path, served.port)
    try:
        wait_for(scraper.is_up, 60, (tmp_path / "prometheus.log").read_text() or "both are scraped")
        least, most = counters(before), counters(after)
        for job in ("open", "classic"):
            for name, value in least.items():
                metric, _, fate = name.partition(" ")
                found = scraper.finds(f'{metric}{{job="{job}"{f",fate={json.dumps(fate)}" if fate else ""}}}')
                assert len(found) == 1, (job, name)
                assert value <= float(found[0]["value"][1]) <= most[name], (job, name)
                assert found[0]["metric"]["device"] == "test"
        types = json.load(
            urllib.request.urlopen(f"http://127.0.0.1:{scraper.port}/api/v1/targets/metadata?limit=1000", timeout=HANG_S)
        )
        told = {(one["target"]["job"], one["metric"]): one["type"] for one in types["data"]}
        assert told["open", "edged_frames"] == "counter" or told["open", "edged_frames_total"] == "counter"
        assert told["classic", "edged_frames_total"] == "counter"
        assert (
            told["open", "edged_inference_duration_seconds"] == told["classic", "edged_inference_duration_seconds"] == "histogram"
        )
        wait_for(lambda: len(scraper.query("count_over_time(edged_uptime_seconds[1m]) >= 3")) == 2, 30, "a rate can be made")
        expressions = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
        assert len(expressions) >= 15
        for expression in expressions:
            shown = expression.replace("$device", ".*").replace("$__rate_interval", "1m")
            assert "$" not in shown
            scraper.finds(shown)
    finally:
        scraper.close()


def test_the_dashboard_uses_only_what_is_told(status):
    known = set(re.findall(r"^(edged_\w+)", to_openmetrics(status | {"result_age_s": 1.0}), re.MULTILINE))
    used = {name for panel in DASHBOARD["panels"] for one in panel["targets"] for name in re.findall(r"edged_\w+", one["expr"])}
    assert used <= known, used - known


def test_the_unit_is_for_the_text_format_and_is_off():
    from edged.system.files import shipped

    unit = shipped("systemd", "edged-metrics.service").read_text()
    assert "ExecStart=/usr/bin/edged status --prometheus --all -o /var/lib/prometheus/node-exporter/edged.prom\n" in unit
    assert "edged-metrics" not in Path("packaging/debian/postinst").read_text()


def test_no_daemon_is_one_sentence_and_leaves_the_file_as_it_was(tmp_path):
    path, file = tmp_path / "edged.toml", tmp_path / "edged.prom"
    path.write_text(f"state_folder = '{tmp_path}/state'\n")
    file.write_text("before\n")
    command = [sys.executable, "-m", "edged", "status", "--prometheus", "-o", str(file), "-c", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert done.returncode == 69 and len(done.stderr.splitlines()) == 1 and file.read_text() == "before\n"
