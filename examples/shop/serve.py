"""The example shop on its own web server, and the whole recommender beside it, in a temporary directory.

    uv run examples/shop/serve.py            # then open http://127.0.0.1:8080
    uv run examples/shop/serve.py --port 80 --api-port 8700

What a shop does at its backend is done here by the Python client: it tells the catalogue, and, so that there is a crowd
to learn from, what some hundred made-up visitors did in the last hours. The page does the rest, from another origin
and with a publishable key, as a shop's pages would. Ctrl-C ends it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from headrace.client import Client
from schemas.event import EventIn
from schemas.item import ItemIn

HERE = Path(__file__).parent
VISITORS, HOURS = 400, 6
TOGETHER = {"tents": "stoves", "boots": "jackets", "stoves": "lamps", "packs": "bottles", "cycling": "lamps"}


@contextmanager
def recommender(port: int, origin: str, key: str, publishable: str) -> Iterator[str]:
    """Run `headrace up` and give its address, once it is ready."""
    with tempfile.TemporaryDirectory(prefix="hr-shop-") as directory:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")} | {
            "HEADRACE_API_KEYS": key,
            "HEADRACE_PUBLISHABLE_KEYS": publishable,
            "HEADRACE_ALLOWED_ORIGINS": origin,
        }
        words = ["up", "--json", "--port", str(port), "--data-dir", f"{directory}/data"]
        process = subprocess.Popen([sys.executable, "-m", "headrace", *words], stdout=subprocess.PIPE, env=environment)
        try:
            yield json.loads(_first_document(process))["api"]
        finally:
            process.terminate()
            process.wait()


def _first_document(process: subprocess.Popen[bytes]) -> bytes:
    said = b""
    for line in process.stdout or ():
        said += line
        if line == b"}\n":
            return said
    sys.exit(process.wait())  # it has said why


def crowd(items: list[ItemIn], seed: int = 7) -> list[EventIn]:
    """Return what visitors did: each was after one kind of goods and often what goes with it, the first ones most."""
    chance, now = random.Random(seed), time.time()
    kinds: dict[str, list[str]] = {}
    for item in items:
        kinds.setdefault(item.categories[0], []).append(str(item.item_id))
    events = []
    for visitor in range(VISITORS):
        kind = chance.choice(list(kinds))
        wanted = kinds[kind] + kinds[TOGETHER.get(kind, kind)][:3]
        at = now - chance.uniform(0.1, HOURS) * 3600.0
        for step in range(chance.randint(2, 5)):
            item = wanted[min(int(chance.expovariate(0.4)), len(wanted) - 1)]
            kind_of_event = chance.choices(["view", "click", "add_to_cart", "purchase"], [5, 4, 2, 1])[0]
            who: dict[str, Any] = {"visitor_id": f"crowd-{visitor}", "timestamp": at + 30.0 * step}
            events.append(EventIn(event_type=kind_of_event, item_id=item, **who))
    return sorted(events, key=lambda event: event.timestamp or 0.0)


class Site(SimpleHTTPRequestHandler):
    """The files beside this one, and where the page finds the API."""

    def __init__(self, *words: Any, config: dict[str, str]) -> None:
        self._config = json.dumps(config).encode()
        super().__init__(*words, directory=str(HERE))

    def do_GET(self) -> None:
        if self.path != "/config.json":
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(self._config)))
        self.end_headers()
        self.wfile.write(self._config)
        return None

    def log_message(self, *words: Any) -> None:
        """Stay quiet."""


def main() -> None:
    parser = argparse.ArgumentParser(description="The example shop, and the whole recommender beside it.")
    parser.add_argument("--port", type=int, default=8080, help="of the shop")
    parser.add_argument("--api-port", type=int, default=8700, help="of the API")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))  # so that the recommender ends as well
    key, publishable, origin = secrets.token_hex(16), secrets.token_hex(16), f"http://127.0.0.1:{options.port}"
    with recommender(options.api_port, origin, key, publishable) as api:
        items = [ItemIn(**item) for item in json.loads((HERE / "catalogue.json").read_text("utf-8"))["items"]]
        with Client(api, api_key=key) as client:
            client.put_items(items)
            client.send(crowd(items))
        site = partial(Site, config={"api": api, "key": publishable})
        with ThreadingHTTPServer(("127.0.0.1", options.port), site) as server:
            print(f"the shop is open: {origin}   (Ctrl-C closes it)", flush=True)  # noqa: T201
            server.serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
