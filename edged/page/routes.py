"""What may be asked of the page, by whom, and what is answered. The one door to microdot."""

import asyncio
import json
import logging
import re
import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

from microdot import Microdot, Request, Response

import edged
from edged.errors import EdgedError
from edged.faults import StandingFault, kinds
from edged.models.fit.plot import to_svg as to_frontier
from edged.page.access import COOKIE, COOKIE_S, Guard, Role, TooManyGuessesError, is_from_us, is_our_name
from edged.page.courier import CourierLink
from edged.page.hour import to_hour, to_number
from edged.page.listener import BODY_BYTES, Outlet
from edged.page.openmetrics import CONTENT_TYPE, to_openmetrics
from edged.page.viewers import Viewers, to_event
from edged.system.shapes import is_region

log = logging.getLogger("edged")

_STATIC = Path(__file__).parent / "static"
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
_TRIED = ("enter", "leave", "margin", "k", "n", "hold_s")
_OPEN = ("/healthz", "/login", "/login.js", "/page.css", "/icon.svg")  # and nothing of what edged sees
_BY_TOKEN = ("/metrics", "/api")
_OFF = "no picture is shown: page.enabled is false"
_ANOTHER = "what answers is no edged of this version"

Answer = Any  # what microdot takes: a body, or (body, status, headers)
Route = Callable[[Request], Awaitable[Answer]]


class Page:
    """Thread: the event loop's."""

    def __init__(
        self,
        courier: CourierLink,
        viewers: Viewers,
        guard: Guard,
        names: frozenset[str],
        *,
        is_tls: bool,
        shows_picture: bool,
        config: str,
    ) -> None:
        """names: under which browsers may reach it; config: where the file is, for people."""
        self._courier, self._viewers, self._guard, self._names = courier, viewers, guard, names
        self._config = config
        self._scheme, self._shows_picture = "https" if is_tls else "http", shows_picture
        self._static = {f"/{path.name}": path.read_bytes() for path in _STATIC.iterdir() if path.suffix[1:] in _TYPES}
        self._replaying = asyncio.Lock()
        Request.max_content_length = Request.max_body_length = BODY_BYTES
        Request.max_readline = 8 * 1024
        self._app = Microdot()
        self._app.before_request(self._check)
        self._app.after_request(self._seal)
        self._app.after_error_request(self._seal)
        self._app.options_handler = None  # type: ignore[assignment]  # it would say 200, and that OPTIONS is taken
        self._app.errorhandler(405)(self._refuse_method)
        gets: dict[str, Route] = {
            "/": self._index, "/healthz": self._healthz, "/live": self._live, "/picture": self._picture, "/hour": self._hour,
            "/models": self._models, "/metrics": self._metrics, "/api": self._api,
            "/tuned": self._tuned,
        }  # fmt: skip
        posts: dict[str, Route] = {
            "/login": self._login, "/logout": self._logout, "/act": self._act, "/use": self._use, "/tune": self._tune,
            "/try": self._try,
        }  # fmt: skip
        gets |= {name: self._file for name in self._static if not name.endswith(".html")}
        for path, route in gets.items():
            self._app.get(re.escape(path))(route)  # the web library takes it as a pattern
        for path, route in posts.items():
            self._app.post(path)(route)
        self._methods = dict.fromkeys(gets, "GET, HEAD") | dict.fromkeys(posts, "POST")  # no path is in both

    async def handle(self, reader: asyncio.StreamReader, outlet: Outlet) -> None:
        """One whole request."""
        await self._app.handle_request(reader, outlet)  # type: ignore[arg-type]

    # who may

    async def _check(self, request: Request) -> Answer:
        """None lets it pass."""
        if not is_our_name(request.headers.get("Host", ""), self._names):
            return "this board has another name; see page.names", 421
        if request.method == "POST" and not is_from_us({k.lower(): v for k, v in request.headers.items()}, self._scheme):
            return _error("this does not come from the page", 403)
        if request.path in _OPEN:
            return None
        if request.path in _BY_TOKEN:
            return self._check_token(request)
        role = self._guard.role_of(request.cookies.get(COOKIE, ""), _address(request))
        request.g.role = role
        if role is None:
            if request.path == "/":
                return self._static["/login.html"], 200, {"Content-Type": "text/html; charset=utf-8"}
            return _error("log in first", 401)
        if request.method == "POST" and role != "control" and request.path not in ("/try", "/logout"):
            return _error("this token may look, and change nothing", 403)
        return None

    def _check_token(self, request: Request) -> Answer:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        try:
            if kind.lower() == "bearer" and self._guard.admit(token.strip(), _address(request)) is not None:
                return None
        except TooManyGuessesError:
            return "too many wrong tokens; wait", 429, {"Retry-After": "10"}
        return "a token is needed", 401, {"WWW-Authenticate": "Bearer"}

    async def _refuse_method(self, request: Request) -> Answer:
        """To whoever asks, as 404 is: which addresses there are stands in the page's source, and nothing is done."""
        allowed = self._methods[request.path]
        return f"here only {allowed}", 405, {"Allow": allowed}

    async def _seal(self, request: Request, response: Response) -> Response:
        response.reason = HTTPStatus(response.status_code).phrase
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    async def _login(self, request: Request) -> Answer:
        token = _body(request).get("token")
        try:
            role = self._guard.admit(token if isinstance(token, str) else "", _address(request))
        except TooManyGuessesError:
            return _error("too many wrong tokens from here; wait ten seconds", 429)
        if role is None:
            log.warning("a wrong token from %s", _address(request))  # at most two a second
            return _error("that is not one of the tokens: sudo edged page token shows them", 401)
        return {"role": role}, 200, {"Set-Cookie": self._cookie(self._guard.to_cookie(role), COOKIE_S)}

    async def _logout(self, _request: Request) -> Answer:
        return {}, 200, {"Set-Cookie": self._cookie("", 0)}

    def _cookie(self, value: str, age_s: int) -> str:
        secure = "; Secure" if self._scheme == "https" else ""
        return f"{COOKIE}={value}; Path=/; Max-Age={age_s}; HttpOnly; SameSite=Strict{secure}"

    # what is shown

    async def _index(self, _request: Request) -> Answer:
        return self._static["/page.html"], 200, {"Content-Type": "text/html; charset=utf-8"}

    async def _file(self, request: Request) -> Answer:
        kind = _TYPES[request.path.rsplit(".", 1)[1]]
        return self._static[request.path], 200, {"Content-Type": f"{kind}; charset=utf-8"}

    async def _healthz(self, _request: Request) -> Answer:
        return "ok\n"

    async def _live(self, request: Request) -> Answer:
        return self._stream(request.g.role), 200, {"Content-Type": "text/event-stream"}

    async def _stream(self, role: Role) -> AsyncIterator[bytes]:
        about: dict[str, Any] = {"role": role, "picture": self._shows_picture, "version": edged.__version__}
        about |= {"config": self._config, "cures": {kind: StandingFault(kind, ()).cure for kind in kinds()}}
        yield to_event("hello", about)
        async with self._courier.looked_at():
            viewer = self._viewers.add()  # in one breath with what was heard so far: nothing is missed, and nothing told twice
            if not self._courier.is_up:
                viewer.put("link", {"up": False, "reason": "edged does not answer"})
            for line in [*self._courier.events, *self._courier.latest.values()]:
                viewer.put(line["topic"], line)
            try:
                async for part in viewer.stream():
                    yield part
            finally:
                self._viewers.remove(viewer)

    async def _picture(self, request: Request) -> Answer:
        if not self._shows_picture:
            return _error("on this address no picture is shown: page.picture is false", 403)
        view = request.args.get("view", "whole")
        if view not in ("whole", "region", "model"):
            return _error("view is whole, region or model", 400)
        async with self._courier.looked_at():
            told = await self._courier.picture(view)
        if self._courier.is_off:
            return _error(_OFF, 403)
        if "jpeg" not in told:
            return _error(str(told.get("reason", "there is no picture")), 200)
        about = {key: value for key, value in told.items() if key != "jpeg"}
        said = urllib.parse.quote(json.dumps(about))  # labels may hold anything, headers may not
        return told["jpeg"], 200, {"Content-Type": "image/jpeg", "X-Edged-Seen": said}

    async def _hour(self, request: Request) -> Answer:
        return await self._asked(self._load_hour(request))

    async def _load_hour(self, request: Request) -> Answer:
        tried = {f"decision.{key}": to_number(key, request.args[key]) for key in _TRIED if request.args.get(key)}
        async with self._replaying:  # one at a time, however many ask
            told = await self._courier.ask({"verb": "hour", "tried": tried})
            return await asyncio.to_thread(to_hour, told)

    async def _models(self, _request: Request) -> Answer:
        return await self._asked(self._load_models())

    async def _load_models(self) -> Answer:
        told = await self._courier.ask({"verb": "models"})
        return {"rows": told["rows"], "note": told["note"], "frontier": to_frontier(told["fit"]) if told["fit"] else ""}

    async def _metrics(self, _request: Request) -> Answer:
        try:
            return to_openmetrics(await self._courier.ask({"verb": "status"})), 200, {"Content-Type": CONTENT_TYPE}
        except EdgedError as error:
            return f"# {error}\n", 503
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
            return f"# {_ANOTHER}\n", 503

    async def _api(self, _request: Request) -> Answer:
        """By topic, what the broker is told: the last value of each, and the last events; without the stamps of messages."""
        async with self._courier.looked_at():
            latest = {topic: line["body"] for topic, line in self._courier.latest.items()}
            events = [{"time": line["time"], **line["body"]} for line in self._courier.events]
        return {**latest, "events": events} if latest else _error("edged does not answer", 503)

    # what is changed

    async def _act(self, request: Request) -> Answer:
        return await self._asked(self._courier.ask({"verb": "act", "action": _body(request).get("action")}))

    async def _use(self, request: Request) -> Answer:
        def tell(doing: str) -> None:
            self._viewers.tell("doing", {"doing": doing})

        return await self._asked(self._courier.ask({"verb": "use", "wish": _body(request).get("wish")}, tell))

    async def _tune(self, request: Request) -> Answer:
        return await self._asked(self._courier.ask({"verb": "tune", "values": _body(request).get("values")}))

    async def _tuned(self, _request: Request) -> Answer:
        return await self._asked(self._courier.ask({"verb": "tune", "values": {}}))

    async def _try(self, request: Request) -> Answer:
        region = _body(request).get("region")
        if not is_region(region):
            return _error(
                "a region is x, y, width and height, each 0 to 1, inside the picture, and 0.01 wide and high at least", 400
            )
        async with self._courier.looked_at():
            tried = await self._courier.try_region(region)
        return _error(_OFF, 403) if self._courier.is_off else tried

    async def _asked(self, asking: Awaitable[Answer]) -> Answer:
        """A refusal of edged's is an answer like another: its sentence is in it, and the status is of the way there."""
        try:
            return await asking
        except (EdgedError, ValueError) as error:
            return _error(str(error), 200)
        except (LookupError, TypeError, AttributeError, ArithmeticError):
            return _error(_ANOTHER, 200)


def _body(request: Request) -> dict[str, Any]:
    """The JSON object of a request; empty for anything else."""
    try:
        value = request.json
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _address(request: Request) -> str:
    return str(request.client_addr[0]) if request.client_addr else ""


def _error(sentence: str, status: int) -> Answer:
    return {"error": sentence}, status
