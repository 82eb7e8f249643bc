"""Overload: bounded queues, shared jobs, clients that disconnect."""

import asyncio
import threading
from pathlib import Path

import pytest
from starlette.requests import Request

from otomatch.library import SoundLibrary
from otomatch.web import spectrograms
from otomatch.web.api_errors import ApiError
from otomatch.web.limits import Limits
from otomatch.web.pools import BoundedPool
from tests.support.web import eventually, ids, served


class Client:
    """A request whose client disconnects when `left` is set."""

    def __init__(self) -> None:
        self.left = asyncio.Event()
        self.request = Request({"type": "http"}, self._receive)

    async def _receive(self):
        await self.left.wait()
        return {"type": "http.disconnect"}


class Gate:
    """Work that notes when it starts, and ends when `open` is set."""

    def __init__(self) -> None:
        self.open, self.began, self.calls = threading.Event(), threading.Event(), []

    def __call__(self, value):
        self.calls.append(value)
        self.began.set()
        assert self.open.wait(10)
        return value


async def until(condition) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


def waiting(pool, key) -> int:
    """Return the number of callers that wait for the job with a key."""
    job = pool._shared.get(key)
    return 0 if job is None else job.waiting


async def blocked(gate) -> tuple[BoundedPool, "asyncio.Future[int]"]:
    """Return a pool whose only thread waits at the gate, and the job there."""
    pool = BoundedPool("pictures", workers=1, queue=2)
    blocker = asyncio.ensure_future(pool.run(Client().request, gate, 0))
    await until(gate.began.is_set)
    return pool, blocker


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.open.set()


def test_beyond_its_places_a_pool_refuses_at_once_and_says_when_to_come_again(gate):
    async def run() -> None:
        pool = BoundedPool("pictures", workers=1, queue=2)
        jobs = [asyncio.ensure_future(pool.run(Client().request, gate, n)) for n in range(3)]
        await until(gate.began.is_set)
        with pytest.raises(ApiError, match=r"overloaded \(pictures\)") as caught:
            await pool.run(Client().request, gate, 3)
        assert (caught.value.status, caught.value.headers) == (503, {"Retry-After": "1"})
        gate.open.set()
        assert await asyncio.gather(*jobs) == [0, 1, 2]
        assert await pool.run(Client().request, gate, 4) == 4  # there is room again
        pool.close()

    asyncio.run(run())


def test_those_who_want_the_same_share_one_job(gate):
    async def run() -> None:
        pool = BoundedPool("pictures", workers=2, queue=0)
        jobs = [asyncio.ensure_future(pool.run(Client().request, gate, 7, key="a")) for _ in "1234"]
        await until(lambda: waiting(pool, "a") == 4)
        assert gate.began.wait(10)
        gate.open.set()
        assert await asyncio.gather(*jobs) == [7] * 4
        assert gate.calls == [7]
        await until(lambda: not pool._taken)
        assert await pool.run(Client().request, gate, 8, key="a") == 8  # not the old answer
        pool.close()

    asyncio.run(run())


def test_a_client_that_leaves_frees_its_place_in_the_queue(gate):
    async def run() -> None:
        pool = BoundedPool("pictures", workers=1, queue=1)
        first = asyncio.ensure_future(pool.run(Client().request, gate, 0))
        await until(gate.began.is_set)
        leaving = Client()
        second = asyncio.ensure_future(pool.run(leaving.request, gate, 1))
        await until(lambda: pool._taken == 2)
        leaving.left.set()
        with pytest.raises(ApiError) as caught:
            await second
        assert caught.value.status == 499
        await until(lambda: pool._taken == 1)
        third = asyncio.ensure_future(pool.run(Client().request, gate, 2))
        await until(lambda: pool._taken == 2)
        gate.open.set()
        assert await asyncio.gather(first, third) == [0, 2]
        assert gate.calls == [0, 2]  # what nobody waits for was not done
        pool.close()

    asyncio.run(run())


def test_one_who_leaves_does_not_take_the_job_from_the_others(gate):
    async def run() -> None:
        pool, blocker = await blocked(gate)
        leaving = Client()
        first = asyncio.ensure_future(pool.run(leaving.request, gate, 1, key="a"))
        other = asyncio.ensure_future(pool.run(Client().request, gate, 1, key="a"))
        await until(lambda: waiting(pool, "a") == 2)
        leaving.left.set()
        with pytest.raises(ApiError):
            await first
        gate.open.set()
        assert await asyncio.gather(blocker, other) == [0, 1]
        pool.close()

    asyncio.run(run())


def test_a_job_dropped_by_all_is_begun_anew_for_the_next(gate):
    async def run() -> None:
        pool, blocker = await blocked(gate)
        leaving = Client()
        first = asyncio.ensure_future(pool.run(leaving.request, gate, 1, key="a"))
        await until(lambda: waiting(pool, "a") == 1)
        leaving.left.set()
        with pytest.raises(ApiError):
            await first
        again = asyncio.ensure_future(pool.run(Client().request, gate, 1, key="a"))
        await until(lambda: waiting(pool, "a") == 1)
        gate.open.set()
        assert await asyncio.gather(blocker, again) == [0, 1]
        pool.close()

    asyncio.run(run())


def test_errors_reach_all_who_wait_and_free_the_place():
    def fail():
        raise ApiError(404, "gone")

    async def run() -> None:
        pool = BoundedPool("pictures", workers=1, queue=0)
        for _ in range(3):
            jobs = [pool.run(Client().request, fail, key="a") for _ in "12"]
            found = await asyncio.gather(*jobs, return_exceptions=True)
            assert [error.status for error in found] == [404, 404]
            await until(lambda: not pool._taken)
        pool.close()

    asyncio.run(run())


def test_an_overloaded_server_answers_503_and_goes_on(library, monkeypatch):
    opened = threading.Event()
    draw = spectrograms.draw_spectrogram

    def slow(*arguments):
        assert opened.wait(60)
        return draw(*arguments)

    monkeypatch.setattr(spectrograms, "draw_spectrogram", slow)
    with served(library, limits=Limits(media_workers=1, media_queue=2)) as client:
        id_ = ids(library)["high.wav"]
        places = [f"/api/sounds/{id_}/spectrogram?width={width}" for width in range(100, 120)]
        answers: list = []
        threads = [
            threading.Thread(target=lambda a=a: answers.append(client.get(a))) for a in places
        ]
        for thread in threads:
            thread.start()
        eventually(lambda: len(answers) == 17)  # one is at work, two wait
        assert {answer.status_code for answer in answers} == {503}
        assert answers[0].headers["retry-after"] == "1"
        assert "try again" in answers[0].json()["detail"]
        # What has nothing to do with spectrograms is not held up meanwhile.
        assert client.get("/api/search", params={"q": "rain"}).status_code == 200
        opened.set()
        for thread in threads:
            thread.join()
        assert [answer.status_code for answer in answers[17:]] == [200] * 3
        assert client.get(places[-1]).status_code == 200


def test_too_many_searches_are_refused_while_pictures_go_on(library, monkeypatch):
    gate = Gate()
    search = SoundLibrary.search
    monkeypatch.setattr(
        SoundLibrary, "search", lambda self, *a, **o: gate(0) or search(self, *a, **o)
    )
    with served(library, limits=Limits(model_workers=1, model_queue=0)) as client:
        held: list = []
        first = threading.Thread(
            target=lambda: held.append(client.get("/api/search", params={"q": "rain"}))
        )
        first.start()
        assert gate.began.wait(10)
        assert client.get("/api/search", params={"q": "wind"}).status_code == 503
        picture = client.get(f"/api/sounds/{ids(library)['high.wav']}/spectrogram")
        assert picture.status_code == 200
        gate.open.set()
        first.join()
        assert held[0].status_code == 200


def test_one_picture_wanted_by_many_is_drawn_once_and_kept(library, monkeypatch):
    drawn = []
    picture = spectrograms.draw_spectrogram
    monkeypatch.setattr(
        spectrograms,
        "draw_spectrogram",
        lambda source, *span: drawn.append(span) or picture(source, *span),
    )
    with served(library) as client:
        place = f"/api/sounds/{ids(library)['high.wav']}/spectrogram?width=77"
        first = client.get(place)
        assert all(client.get(place).content == first.content for _ in range(5))
        assert len(drawn) == 1
        kept = client.get(place, headers={"If-None-Match": first.headers["etag"]})
        assert (kept.status_code, kept.content) == (304, b"")
        path = Path(library.sound(ids(library)["high.wav"]).path)
        path.touch()
        assert client.get(place).headers["etag"] != first.headers["etag"]
        assert len(drawn) == 2
