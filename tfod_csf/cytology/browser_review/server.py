"""The web server of a review: this computer only, and only for whoever has the address with its token.

What keeps others out, each by itself:
  * it listens on 127.0.0.1, which no other computer reaches;
  * every address begins with a token of 256 random bits, which is compared in constant time and is in no other page;
  * Host must be this address, so that a foreign name that was pointed at 127.0.0.1 (DNS rebinding) gets nothing;
  * what changes something is JSON with an Origin of this server; a page from elsewhere cannot send that;
  * a browser that says that another site asks (Sec-Fetch-Site) gets nothing;
  * the page's content policy runs its own script alone and fetches from this server alone.
"""

import hmac
import json
import logging
import pathlib
import secrets
import threading
from collections.abc import Callable, Iterable
from typing import Any

from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.routing import Map, Rule
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response

from tfod_csf.cytology.browser_review import messages, sign_off
from tfod_csf.cytology.browser_review.desk import Desk
from tfod_csf.cytology.browser_review.journal import JournalError
from tfod_csf.cytology.browser_review.marked_images import RefusedDecisionError
from tfod_csf.cytology.browser_review.review_times import ACTIVE, OPEN
from tfod_csf.cytology.browser_review.shown_pictures import PictureError, ShownPictures, crop_side
from tfod_csf.errors import UserError
from tfod_csf.pages.html_page import PageTemplates

HOST = "127.0.0.1"
_MAX_BODY = 64 * 1024
_MAX_QUEUED = 30.0  # s: a connection that says nothing that long is closed
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_PAGE = PageTemplates(
    pathlib.Path(__file__).with_name("templates"), ("page.css", "review.css"), ("review.js",), is_served=True
)
_ROUTES = Map(
    [
        Rule("/", endpoint="page", methods=["GET"]),
        Rule("/patients", endpoint="patients", methods=["GET"]),
        Rule("/patient/<folder>", endpoint="patient", methods=["GET"]),
        Rule("/check/<folder>", endpoint="check", methods=["GET"]),
        Rule("/version/<folder>", endpoint="version", methods=["GET"]),
        Rule("/field/<folder>/<image>", endpoint="field", methods=["GET"]),
        Rule("/crop/<folder>/<image>/<int:xmin>-<int:ymin>-<int:xmax>-<int:ymax>", endpoint="crop", methods=["GET"]),
        Rule("/decide", endpoint="decide", methods=["POST"]),
        Rule("/sign_off", endpoint="sign_off", methods=["POST"]),
    ]
)
_log = logging.getLogger("tfod_csf")


class ReviewApplication:
    """The WSGI application of one desk.

    Args:
      desk: whose.
      take: imports folders, see `sign_off.sign_off`.
      check: refuses a patient's folder that cannot be imported (ReviewError), before anybody works on it.
      token: what every address begins with.
    """

    def __init__(self, desk: Desk, take: sign_off.Import, check: Callable[[pathlib.Path], None], token: str):
        self._desk, self._take, self._check_folder, self._token = desk, take, check, token
        self._pictures = ShownPictures(desk.folder)
        self._sides: dict[str, float] = {}
        self._signing_off = threading.Lock()
        self.port = 0

    def __call__(self, environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
        """Answers a request; WSGI."""
        request = Request(environ)
        request.max_content_length = _MAX_BODY
        response = self._answer(request)
        response.headers.update(_HEADERS)
        return response(environ, start_response)

    def _answer(self, request: Request) -> Response:
        token, slash, rest = request.path.removeprefix("/").partition("/")
        if not self._is_allowed(request, token):
            return Response("Refused: open the address that review_serve printed.", 403)
        try:
            if not slash:  # was lost while the address was copied; the page's own addresses need it
                return redirect(f"/{token}/", 308)
            routes = _ROUTES.bind(HOST, path_info=f"/{rest}", default_method=request.method)
            endpoint, arguments = routes.match()
            return getattr(self, f"_{endpoint}")(request, **arguments)
        except RefusedDecisionError as error:
            return _json({"error": str(error)}, 409)
        except PictureError as error:
            return _json({"error": str(error)}, 410)
        except JournalError as error:
            _log.error("%s", error)
            return _json({"error": str(error)}, 507)
        except UserError as error:
            return _json({"error": str(error)}, 422)
        except OSError as error:
            _log.error("%s", error)
            return _json({"error": str(error)}, 507)
        except HTTPException as error:
            return Response(error.name, error.code)

    def _is_allowed(self, request: Request, token: str) -> bool:
        """See the module's docstring."""
        hosts = (f"{HOST}:{self.port}", f"localhost:{self.port}")
        host = request.headers.get("Host", "")
        if not hmac.compare_digest(token.encode(), self._token.encode()) or host not in hosts:
            return False
        if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            return False
        if request.method in ("GET", "HEAD"):
            return True
        return request.headers.get("Origin") == f"http://{host}" and request.mimetype == "application/json"

    def _page(self, request: Request) -> Response:
        reviewer = self._desk.reviewer
        html = _PAGE.render("review.html.j2", "Review", title=f"Review by {reviewer}", reviewer=reviewer)
        return Response(html, mimetype="text/html")

    def _patients(self, request: Request) -> Response:
        with self._desk.reading():
            return _json({"patients": messages.patients_state(self._desk)})

    def _patient(self, request: Request, folder: str) -> Response:
        with self._desk.reading():
            return _json(messages.patient_state(self._desk, folder, self._desk.patient(folder)))

    def _check(self, request: Request, folder: str) -> Response:
        self._desk.sidecar(folder)
        self._check_folder(self._desk.folder / folder)
        return _json({})

    def _version(self, request: Request, folder: str) -> Response:
        with self._desk.reading():
            return _json({"version": self._desk.last_version(folder)})

    def _field(self, request: Request, folder: str, image: str) -> Response:
        with self._desk.reading():
            marked = self._desk.patient(folder).images.get(image)
        if marked is None:
            raise NotFound
        return Response(self._pictures.field(folder, image, marked.shown), mimetype="image/jpeg")

    def _crop(self, request: Request, folder: str, image: str, **sides: int) -> Response:
        with self._desk.reading():
            patient = self._desk.patient(folder)
            marked = patient.images.get(image)
            box = (sides["xmin"], sides["ymin"], sides["xmax"], sides["ymax"])
            if marked is None or box not in {cell.box for cell in marked.cells.values()}:
                raise NotFound
            if folder not in self._sides:
                self._sides[folder] = crop_side(patient.sidecar)
            side = self._sides[folder]
        return Response(self._pictures.crop(folder, image, marked.shown, box, side), mimetype="image/jpeg")

    def _decide(self, request: Request) -> Response:
        message = messages.read_message(_content(request))
        folder, action = message.patient, message.entry["action"]
        if action in (OPEN, ACTIVE):
            self._desk.note_work(folder, action, message.request)
            return _json({})
        before = self._desk.decide(folder, message.entry, message.seen, message.request)
        with self._desk.reading():
            image = None if before == -1 else message.entry.get("image")
            state = messages.patient_state(self._desk, folder, self._desk.patient(folder), image)
        return _json({"before": before, **state})

    def _sign_off(self, request: Request) -> Response:
        folder, seen = messages.read_sign_off(_content(request))
        with self._signing_off:  # one after another, or an import would read what the next one is writing
            done = sign_off.sign_off(self._desk, folder, seen, self._take)
        return _json({"revision": done.revision, "sha256": done.sha256})


def _content(request: Request) -> Any:
    try:
        return json.loads(request.get_data(cache=False))
    except (ValueError, RecursionError):
        raise RefusedDecisionError("The message is not JSON.") from None


def _json(content: Any, status: int = 200) -> Response:
    return Response(json.dumps(content, ensure_ascii=False), status, mimetype="application/json")


class _QuietHandler(WSGIRequestHandler):
    """Writes no line per request: it would show the token."""

    timeout = _MAX_QUEUED

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing."""


def new_token() -> str:
    """256 random bits in letters that an address may hold."""
    return secrets.token_urlsafe(32)


def make_review_server(application: ReviewApplication, port: int = 0) -> BaseWSGIServer:
    """A server that is ready for `serve_forever`, a thread for each connection.

    Args:
      port: 0 for any free one.

    Raises:
      UserError: the port is in use.
    """
    try:
        server = make_server(HOST, port, application, threaded=True, request_handler=_QuietHandler)
    except SystemExit:  # which is what werkzeug makes of it
        raise UserError(f"--port={port}: is in use by another program, or may not be used; give another one.") from None
    application.port = server.port
    return server
