"""A small client for the tests of the simulator."""

from typing import Any

import httpx2

from simulator import SimulatorOptions, create_simulator

SMALL = SimulatorOptions(groups=2, posts=12, comments=900, rps=0)
OWNER = -1


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return the time that it was set to, in seconds."""
        return self.now


class Vk:
    """A simulator and its client in one process."""

    def __init__(self, options: SimulatorOptions = SMALL) -> None:
        self.clock = Clock()
        self.app = create_simulator(options, clock=self.clock)
        self.http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=self.app), base_url="http://vk.test")

    async def reply(self, method: str, /, **parameters: object) -> Any:
        """Return the whole reply to a method, answer or error."""
        sent = {"access_token": "secret", "v": "5.199"} | {name: str(value) for name, value in parameters.items()}
        answer = await self.http.post(f"/method/{method}", data=sent)
        assert answer.status_code == 200
        return answer.json()

    async def answer(self, method: str, /, **parameters: object) -> Any:
        """Return the answer to a method that succeeds."""
        reply = await self.reply(method, **parameters)
        assert "response" in reply, reply
        return reply["response"]

    async def refusal(self, method: str, /, **parameters: object) -> tuple[int, str]:
        """Return code and message of a method's error."""
        error = (await self.reply(method, **parameters))["error"]
        return error["error_code"], error["error_msg"]

    async def comments(self, post_id: int, **parameters: object) -> Any:
        """Return a page of wall.getComments of the first group."""
        return await self.answer("wall.getComments", owner_id=OWNER, post_id=post_id, **parameters)

    async def control(self, **commands: object) -> Any:
        """Execute these commands and return the new state."""
        answer = await self.http.post("/_control", json=commands)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def truth(self, group_id: int = 1) -> dict[int, list[int]]:
        """Return post id -> all its comment ids."""
        returned = (await self.http.get(f"/_truth/{group_id}")).json()["comments"]
        return {int(post_id): ids for post_id, ids in returned.items()}

    async def history(self, group_id: int = 1) -> dict[int, dict[str, Any]]:
        """Return comment id -> its facts, of all comments that ever existed."""
        returned = (await self.http.get(f"/_history/{group_id}")).json()["comments"]
        return {int(comment_id): facts for comment_id, facts in returned.items()}

    async def fullest_post(self) -> int:
        """Return the id of the post with the most comments."""
        truth = await self.truth()
        return max(truth, key=lambda post_id: len(truth[post_id]))
