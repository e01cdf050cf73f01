"""This file is the server: routes, the way of a request from its bytes to VK's reply, and what it counts."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.simulator import control
from app.simulator.errors import ApiError, envelope
from app.simulator.execute import Run, check_size
from app.simulator.faults import Brake, FaultQueue
from app.simulator.limits import RateLimit
from app.simulator.methods import METHODS
from app.simulator.options import SimulatorOptions
from app.simulator.parameters import Parameters, bearer_token, parse_body, parse_query, parse_version
from app.simulator.people import is_number
from app.simulator.world import World


class Simulator:
    """One simulated VK: its world, its rules, its faults, and its counters."""

    def __init__(self, options: SimulatorOptions, clock: Callable[[], float]) -> None:
        self.options = options
        self.world = World(options)
        self.limit = RateLimit(options.rps, clock)
        self.faults = FaultQueue()
        self.brake = Brake()
        self.revoked: set[str] = set()
        self.reset_counters()

    def reset_counters(self) -> None:
        """Start counting anew.

        `requests` are HTTP requests for methods, `calls` runs of methods (those inside execute, not execute itself),
        `methods` the same by name with execute, `errors` and `execute_errors` failures by code, outside and inside.
        """
        self.requests = 0
        self.calls = 0
        self.methods: Counter[str] = Counter()
        self.errors: Counter[int] = Counter()
        self.execute_errors: Counter[int] = Counter()

    async def method(self, request: Request) -> Response:
        """Answer `/method/{name}`: the answer or VK's error envelope, both with HTTP 200; or a scripted fault."""
        self.requests += 1
        name = request.path_params["name"]
        body = parse_body(request.headers.get("content-type", ""), await request.body())
        values = parse_query(request.scope["query_string"]) | body
        token = values.pop("access_token", None) or bearer_token(request.headers.get("authorization", ""))
        await self.brake.wait()
        fault = self.faults.take(name)
        if fault is not None and fault.http is not None:
            page = "<html><head><title>Error</title></head><body>Something went wrong</body></html>"
            return Response(page, fault.http, media_type="text/html")
        try:
            if fault is not None:
                raise ApiError(fault.code, fault.message)  # noqa: TRY301 - all refusals leave by one door
            return _json(self._answer(name, token, values))
        except ApiError as error:
            self.errors[error.code] += 1
            return _json(orjson.dumps(envelope(error, name, values)))

    def _answer(self, name: str, token: str | None, values: Mapping[str, str]) -> bytes:
        version = parse_version(values.get("v"))
        if name != "execute" and name not in METHODS:
            raise ApiError(3)
        if not token:
            raise ApiError(5)
        if token in self.revoked:
            raise ApiError(5, "User authorization failed: invalid access_token (4).")
        if not self.limit.allows(token):
            raise ApiError(6)
        if name == "execute":
            return self._execute(Parameters(values, version))
        return orjson.dumps({"response": self._call(name, Parameters(values, version))})

    def _call(self, name: str, parameters: Parameters) -> Any:
        if name not in METHODS:
            raise ApiError(3)
        self.calls += 1
        self.methods[name] += 1
        return METHODS[name](self.world, parameters)

    def _execute(self, parameters: Parameters) -> bytes:
        self.methods["execute"] += 1

        def call(name: str, values: Mapping[str, str]) -> Any:
            fault = self.faults.take(name, inner=True)
            if fault is not None:
                raise ApiError(fault.code, fault.message)
            return self._call(name, Parameters(values, parameters.version))

        run = Run(call)
        reply: dict[str, object] = {"response": run.result(parameters.required_text("code"))}
        if run.errors:
            reply["execute_errors"] = run.errors
            self.execute_errors.update(int(str(error["error_code"])) for error in run.errors)
        return check_size(orjson.dumps(reply))

    async def truth(self, request: Request) -> Response:
        """Answer `/_truth/{group_id}`: {"comments": {"<post id>": [all ids, ascending, stubs included]}}, or 404."""
        group_id = request.path_params["group_id"]
        wall = self.world.wall(int(group_id)) if is_number(group_id) else None
        if wall is None:
            return _json(orjson.dumps({"error": f"no community has the id {group_id}"}), 404)
        return _json(orjson.dumps({"comments": wall.truth()}))

    async def show(self, _request: Request) -> Response:
        """Answer GET `/_control`: options, rules, faults and counters."""
        return _json(orjson.dumps(control.state(self)))

    async def change(self, request: Request) -> Response:
        """Answer POST `/_control` (`control.apply` says with what): the new state, or 400 with what is wrong."""
        try:
            done = control.apply(self, await request.body())
        except control.WrongCommand as error:
            return _json(orjson.dumps({"error": str(error)}), 400)
        return _json(orjson.dumps(control.state(self) | done))


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, media_type="application/json; charset=utf-8")


def create_simulator(options: SimulatorOptions, *, clock: Callable[[], float] = time.monotonic) -> Starlette:
    """A VK API server as an ASGI application; `clock` gives the seconds that the rate limit counts.

    Walls are made when first asked for. Serve it in one process: its world and counters live in memory.
    """
    simulator = Simulator(options, clock)
    return Starlette(
        routes=[
            Route("/method/{name:path}", simulator.method, methods=["GET", "POST"]),
            Route("/_truth/{group_id}", simulator.truth),
            Route("/_control", simulator.show, methods=["GET"]),
            Route("/_control", simulator.change, methods=["POST"]),
            Route("/_control/rps", simulator.change, methods=["POST"]),
        ]
    )
