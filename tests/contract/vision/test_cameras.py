"""Every kind of camera keeps the same promises. picamera2's are kept in the libcamera bed (tests/beds), V4L2's where one is."""

import importlib.util
import itertools
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edged.vision.cameras.camera import Camera, CameraFault
from edged.vision.cameras.kinds import open_camera
from edged.vision.cameras.stream import SenderClock, check_answers
from edged.vision.cameras.v4l2 import UNKNOWN, holder
from edged.vision.frame import Frame
from edged.vision.frozen import checked
from edged.vision.preprocess import to_rgb
from tests.e2e.running import HANG_S
from tests.streams import http_server, rtsp_server

FPS = 10.0
RED, GREEN, BLUE = (210, 40, 40), (40, 180, 40), (40, 40, 210)

Opener = Callable[..., Camera]


def card() -> np.ndarray:
    """BGR: red on the left, green in the middle, blue on the right, so that swapped colours can't hide."""
    thirds = [np.full((480, width, 3), colour[::-1], np.uint8) for width, colour in ((208, RED), (224, GREEN), (208, BLUE))]
    return np.hstack(thirds)


@pytest.fixture(params=["pictures", "film", "http", "rtsp", "v4l2", "picamera2"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Opens a camera that looks at the card; v4l2 looks at whatever it looks at."""
    cameras = list[Camera]()
    kind, ends = request.param, list[Callable[[], None]]()
    if kind == "pictures":
        cv2.imwrite(str(tmp_path / "card.png"), card())
        source = str(tmp_path)
    elif kind == "film":
        film = cv2.VideoWriter(str(tmp_path / "card.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (640, 480))
        for _ in range(5):
            film.write(card())
        film.release()
        kind, source = "pictures", str(tmp_path / "card.avi")
    elif kind in ("http", "rtsp"):
        server = (http_server if kind == "http" else rtsp_server)(card())
        ends.append(server.end)
        kind, source = "stream", f"{kind}://127.0.0.1:{server.port}/live"
    elif kind == "v4l2":
        if not os.path.exists("/dev/video0"):  # noqa: PTH110  # a device node, where there is one
            pytest.skip("no /dev/video0 here; `make bed-vm` has one")
        source = "0"
    else:
        if importlib.util.find_spec("picamera2") is None:
            pytest.skip("no picamera2 here; tests/beds/test_libcamera.py runs this in the bed")
        source = "0"

    def open_one(**values: object) -> Camera:
        cameras.append(open_camera(kind, source, **({"fps": FPS} | values)))
        return cameras[-1]

    open_one.kind = kind  # type: ignore[attr-defined]
    yield open_one
    for camera in cameras:
        camera.close()
    for end in ends:
        end()


def colours(frame: Frame) -> list[np.ndarray]:
    rgb = to_rgb(frame, 96, 72)
    return [rgb[20:52, x - 8 : x + 8].reshape(-1, 3).mean(axis=0) for x in (16, 48, 80)]


def test_frames_are_what_they_say_and_in_order(opened):
    camera = opened()
    frames = [checked(camera.read()) for _ in range(6)]
    assert all(before.captured_ns < after.captured_ns for before, after in itertools.pairwise(frames))
    assert len({(f.width, f.height, f.layout) for f in frames}) == 1


def test_colours_are_right(opened):
    if opened.kind == "v4l2":
        pytest.skip("nobody knows what it looks at")
    for seen, wanted in zip(colours(opened().read()), (RED, GREEN, BLUE), strict=True):
        assert np.abs(seen - wanted).max() < 30, (seen, wanted)


def test_a_frame_is_never_from_the_future_and_not_from_long_ago(opened):
    camera = opened()
    camera.read()
    fresh = 0
    for _ in range(100):  # some may have waited for a busy machine; those of a camera that keeps a queue all would
        asked_ns = time.monotonic_ns()
        frame = camera.read()
        assert frame.captured_ns <= time.monotonic_ns()
        fresh += frame.captured_ns > asked_ns - 2e9 / FPS
        if fresh == 4:
            break
    assert fresh == 4


def test_no_more_frames_come_than_were_asked_for(opened):
    camera = opened(fps=5.0)
    times = [camera.read().captured_ns for _ in range(11)]
    assert (times[-1] - times[0]) / 10 > 0.8 * 1e9 / 5


def test_it_can_be_closed_twice_and_opened_again(opened):
    if opened.kind == "picamera2":
        pytest.skip("it is opened once in the life of a process")
    for _ in range(3):
        camera = opened()
        camera.read()
        camera.close()
        camera.close()


def test_nothing_is_left_over_after_many_openings(opened):
    if opened.kind == "picamera2":
        pytest.skip("it is opened once in the life of a process")

    def used() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), threading.active_count()  # noqa: PTH208

    for count in range(12):
        camera = opened()
        camera.read()
        camera.close()
        if count == 1:
            before = used()
    deadline = time.monotonic() + HANG_S  # the servers' own threads end when they notice
    while used() > before and time.monotonic() < deadline:
        threading.Event().wait(0.05)
    assert used() <= before


def test_a_turned_camera_shows_the_card_upside_down(opened):
    if opened.kind in ("pictures", "v4l2"):
        pytest.skip("files are upright; nobody knows what a V4L2 camera looks at")
    seen = colours(opened(rotation=180).read())
    assert np.abs(seen[0] - BLUE).max() < 30


@pytest.mark.parametrize(
    ("kind", "source", "reason"),
    [
        ("pictures", "/nowhere", "absent"),
        ("pictures", "/proc/self/task", "absent"),
        ("v4l2", "/dev/video99", "absent"),
        ("v4l2", "/dev/zero", "format"),
        ("stream", "rtsp://user:secret@127.0.0.1:9/live", "absent"),
        ("stream", "http://user:secret@[nonsense/", "format"),
        ("picamera2", "77", "absent"),
    ],
)
def test_what_can_not_be_opened_is_told_with_its_reason(kind, source, reason):
    if kind == "picamera2" and importlib.util.find_spec("picamera2") is None:
        reason = "library_missing"
    with pytest.raises(CameraFault) as told:
        open_camera(kind, source, fps=FPS)
    assert told.value.reason == reason
    assert "secret" not in str(told.value)
    assert "\n" not in str(told.value)


def test_an_address_that_sends_no_film_is_told_so(tmp_path):
    server = http_server(card())
    server.jpeg = b"this is no picture"
    with pytest.raises(CameraFault) as told:
        camera = open_camera("stream", f"http://127.0.0.1:{server.port}/", fps=FPS)
        camera.read()
    server.end()
    assert told.value.reason in ("format", "read_error")


def test_a_stream_that_ends_is_a_read_error_and_can_be_opened_again():
    server = rtsp_server(card())
    camera = open_camera("stream", f"rtsp://127.0.0.1:{server.port}/live", fps=FPS)
    camera.read()
    server.end()
    with pytest.raises(CameraFault) as told:
        while True:
            camera.read()
    camera.close()
    assert told.value.reason == "read_error"
    again = rtsp_server(card(), port=server.port)
    camera = open_camera("stream", f"rtsp://127.0.0.1:{server.port}/live", fps=FPS)
    assert checked(camera.read()).width == 640
    camera.close()
    again.end()


def test_files_that_are_no_pictures_are_left_out_and_told_once(tmp_path, caplog):
    cv2.imwrite(str(tmp_path / "b.png"), card())
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8 torn")
    (tmp_path / "c.bmp").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("not asked")
    camera = open_camera("pictures", str(tmp_path), fps=1000.0, loop=True)
    assert {camera.read().picture for _ in range(5)} == {"b.png"}
    assert sorted(Path(record.args[0]).name for record in caplog.records) == ["a.jpg", "c.bmp"]


def test_one_picture_is_decoded_once_until_it_is_written_anew(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), card())
    camera = open_camera("pictures", str(tmp_path), fps=1000.0, loop=True)
    first, second = camera.read(), camera.read()
    assert second.pixels is first.pixels and second.captured_ns > first.captured_ns
    (tmp_path / "new").mkdir()
    cv2.imwrite(str(tmp_path / "new/a.png"), 255 - card())
    (tmp_path / "new/a.png").replace(tmp_path / "a.png")
    shown = [camera.read() for _ in range(3)][-1]  # one was decoded before its turn
    assert np.array_equal(shown.pixels, 255 - first.pixels)
    cv2.imwrite(str(tmp_path / "b.png"), card())
    assert len({camera.read().picture for _ in range(6)}) == 2


def test_a_folder_without_one_readable_picture_is_a_fault(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"torn")
    with pytest.raises(CameraFault) as told:
        open_camera("pictures", str(tmp_path), fps=FPS, loop=True).read()
    assert told.value.reason == "format"


def test_pictures_shown_once_end(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), card())
    camera = open_camera("pictures", str(tmp_path), fps=FPS, loop=False)
    camera.read()
    with pytest.raises(CameraFault) as told:
        camera.read()
    assert told.value.reason == "ended"


def test_closing_wakes_a_read_that_waits(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), card())
    camera = open_camera("pictures", str(tmp_path), fps=0.001, loop=True)
    camera.read()
    told = list[str]()

    def read() -> None:
        with pytest.raises(CameraFault) as fault:
            camera.read()
        told.append(fault.value.reason)

    reader = threading.Thread(target=read)
    reader.start()
    camera.close()
    reader.join(HANG_S)
    assert told == ["ended"]


def test_a_frame_that_waited_on_its_way_is_known_to_be_old():
    clock, second = SenderClock(), 1_000_000_000
    assert clock.to_monotonic_ns(0, 50 * second) == 50 * second
    # the second frame came 0.3 s later than the first one's way took
    assert clock.to_monotonic_ns(second, 51 * second + 300_000_000) == pytest.approx(51 * second, abs=2_000_000)
    # the sender began anew
    assert clock.to_monotonic_ns(0, 60 * second) == 60 * second


def test_who_holds_a_device_is_told_by_name(tmp_path):
    device = tmp_path / "video0"
    device.write_bytes(b"")
    assert holder(device) == UNKNOWN
    with subprocess.Popen(["sleep", "100"], stdin=device.open("rb")) as other:
        assert holder(device) == f"sleep (process {other.pid})"
        other.kill()


@pytest.mark.parametrize(("scheme", "server"), [("http", http_server), ("rtsp", rtsp_server)])
def test_a_stream_that_falls_silent_does_not_hang(scheme, server):
    server = server(card())
    camera = open_camera("stream", f"{scheme}://127.0.0.1:{server.port}/live", fps=FPS)
    camera.read()
    server.silent.set()
    with pytest.raises(CameraFault) as told:
        while True:
            camera.read()
    camera.close()
    server.end()
    assert told.value.reason == "read_error"


@pytest.mark.parametrize(("show_s", "times"), [(0.0, 1), (0.004, 4), (0.0001, 1)])
def test_each_photograph_is_shown_so_long_and_a_film_runs(tmp_path, show_s, times):
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), card())
    film = cv2.VideoWriter(str(tmp_path / "c.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for _ in range(3):
        film.write(np.zeros((48, 64, 3), np.uint8))
    film.release()
    camera = open_camera("pictures", str(tmp_path), fps=1000.0, loop=True, show_s=show_s)
    frames = [camera.read() for _ in range(2 * times + 3 + 1)]
    camera.close()
    assert [frame.picture for frame in frames] == ["a.png"] * times + ["b.png"] * times + ["c.avi"] * 3 + ["a.png"]
    taken = [frame.captured_ns for frame in frames]
    assert taken == sorted(set(taken)), "each is a frame of its own moment"


def test_an_address_at_a_host_that_none_can_be_is_said_in_words() -> None:
    with pytest.raises(CameraFault) as fault:
        check_answers("rtsp://bob:hunter2@a..b/x")
    assert str(fault.value) == "rtsp://a..b/x: a..b port 554 does not answer (it is no name that a host can have)"
