"""Time to draw a frame of the search page's map: python bench/page_map.py [POINTS ...].

Random points in 24 clusters are zoomed in and out by the wheel, in headless chromium without a GPU.
At 60 frames a second, a frame must take less than 16.7 ms.
"""

import json
import random
import shutil
import sys
from importlib.resources import files

from playwright.sync_api import Page, Route, sync_playwright

STATIC = files("otomatch") / "web" / "static"
TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
CLUSTERS, MOVES = 24, 60
MEASURE = """async (moves) => {
    const canvas = document.querySelector("#canvas"), box = canvas.getBoundingClientRect();
    const costs = [], original = window.requestAnimationFrame;
    window.requestAnimationFrame = (draw) => original((now) => {
        const began = performance.now();
        draw(now);
        canvas.getContext("2d").getImageData(0, 0, 1, 1);  // forces queued drawing to finish
        costs.push(performance.now() - began);
    });
    for (let i = 0; i < moves; i += 1) {
        canvas.dispatchEvent(new WheelEvent("wheel", { deltaY: i % 2 ? 40 : -60,
            clientX: box.left + box.width / 2, clientY: box.top + box.height / 2 }));
        await new Promise((done) => original(() => original(done)));
    }
    return costs.sort((a, b) => a - b);
}"""


def answer(route: Route, points: int) -> None:
    """Answer with the page's files and a map of random points."""
    path = route.request.url.partition("://")[2].partition("/")[2].partition("?")[0]
    if path.startswith("api/"):
        found = random_map(points) if path == "api/map" else {}
        route.fulfill(body=json.dumps(found), content_type="application/json")
    else:
        name = path.removeprefix("static/") or "index.html"
        body = (STATIC / name).read_bytes()
        route.fulfill(body=body, content_type=TYPES[name.rpartition(".")[2]])


def random_map(points: int) -> dict[str, object]:
    """Return a map as the API does."""
    rng = random.Random(0)  # noqa: S311
    clusters = [{"id": i, "label": f"kind {i}", "size": 1} for i in range(CLUSTERS)]
    places = [
        {"id": f"{i:016x}", "name": f"{i}.wav", "x": rng.random(), "y": rng.random(),
         "cluster": i % CLUSTERS}
        for i in range(points)
    ]  # fmt: skip
    return {"state": "ready", "points": places, "clusters": clusters}


def measure(page: Page, points: int) -> list[float]:
    """Return the time of each frame in milliseconds, sorted."""
    page.unroute_all()
    page.route("**/*", lambda route: answer(route, points))
    page.goto("http://127.0.0.1:9/")  # no server: every request is answered above
    page.wait_for_function("() => document.querySelector('#map-summary').textContent")
    found: list[float] = page.evaluate(MEASURE, MOVES)
    return found


if __name__ == "__main__":
    sizes = [int(size) for size in sys.argv[1:]] or [1000, 5000, 20_000]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        print(f"{'points':>8} {'median ms':>10} {'p95 ms':>8}")
        for size in sizes:
            costs = measure(page, size)
            median, high = costs[len(costs) // 2], costs[int(0.95 * len(costs))]
            print(f"{size:8d} {median:10.1f} {high:8.1f}")
        browser.close()
