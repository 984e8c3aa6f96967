"""A study whose cells are reviewed in the browser: what a sign-off does, and a server in a thread."""

import contextlib
import dataclasses
import pathlib
import threading
from collections.abc import Iterator

from tests.support.review_desk import Desk
from tfod_csf.commands import command_line, review_serve
from tfod_csf.cytology.browser_review import desk, server, sign_off


@dataclasses.dataclass(frozen=True)
class BrowserDesk(Desk):
    """A study and where its reviews go."""

    def importer(self, review_dir: pathlib.Path, reviewer: str = "Dr Li", *flags: str) -> sign_off.Import:
        """What `review_serve` does at a sign-off."""
        arguments = [f"--inference_dir={self.study.inference_dir}", f"--output_dir={self.output}", *flags]
        arguments += [f"--review_dir={review_dir}", f"--reviewer={reviewer}", "--min_white_cells=1"]
        command_line._parse("review_serve", review_serve.FLAGS, arguments)
        return review_serve._import(self.study.inference_dir, self.output)

    def application(self, one: desk.Desk, token: str) -> server.ReviewApplication:
        """What `review_serve` serves."""
        take = self.importer(one.folder, one.reviewer)
        return server.ReviewApplication(one, take, review_serve._check(self.study.inference_dir, self.output), token)

    @contextlib.contextmanager
    def serving(self, review_dir: pathlib.Path, reviewer: str = "Dr Li") -> Iterator[str]:
        """The address of a review."""
        with desk.open_desk(review_dir, reviewer) as one:
            token = server.new_token()
            application = self.application(one, token)
            running = server.make_review_server(application)
            thread = threading.Thread(target=running.serve_forever, args=(0.05,))
            thread.start()
            try:
                yield f"http://127.0.0.1:{running.port}/{token}/"
            finally:
                running.shutdown()
                thread.join()
