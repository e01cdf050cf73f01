"""The server: its routes, the handling of a request from its bytes to VK's reply, and its counters."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from simulator import control
from simulator.broken_replies import JSON_TYPE, broken_reply
from simulator.captchas import Captchas
from simulator.churn import Churn
from simulator.contradictions import contradicted
from simulator.errors import CAPTCHA, ApiError, envelope
from simulator.execute import Run
from simulator.faults import Brake, Fault, Faults
from simulator.gc_pause import paused_gc
from simulator.history import history_json
from simulator.limits import DayQuotas, RateLimit
from simulator.methods import METHODS
from simulator.options import SimulatorOptions
from simulator.parameters import Parameters, bearer_token, parse_query, parse_version, read_form
from simulator.people import is_number
from simulator.site import Site
from simulator.strange_texts import with_lone_surrogates
from simulator.tokens import Token, Tokens
from simulator.world import Wall, World


class Simulator:
    """One simulated VK: its world, rules, faults and counters."""

    def __init__(self, options: SimulatorOptions, clock: Callable[[], float]) -> None:
        self.options = options
        self.world = World(options)
        self.site = Site(self.world)
        self.churn = Churn(self.world, options.churn)
        self.limit = RateLimit(options.rps, clock)
        self.quotas = DayQuotas(options.day_quotas, clock)
        self.service_may_execute = options.service_may_execute
        self.tokens = Tokens(options.tokens)
        self.captchas = Captchas()
        self.faults = Faults(options.faults, options.fault_rates)
        self.brake = Brake()
        self.reset_counters()

    def reset_counters(self) -> None:
        """Reset the counters.

        `requests` are HTTP requests for methods, `calls` are runs of methods (including those inside execute, not
        execute itself), `methods` is the same by name, with execute. `errors` and `execute_errors` are failures by
        code, outside and inside execute. `churn.made` are changes by kind, `faults.played` faults by label. `tokens`
        has counters per token.
        """
        self.requests = 0
        self.calls = 0
        self.methods: Counter[str] = Counter()
        self.errors: Counter[int] = Counter()
        self.execute_errors: Counter[int] = Counter()
        self.tokens.reset_counters()
        self.churn.made.clear()
        self.faults.played.clear()

    async def method(self, request: Request) -> Response:
        """Serve `/method/{name}`: the answer or VK's error envelope, both with HTTP 200; or a fault."""
        self.requests += 1
        name = request.path_params["name"]
        values = parse_query(request.scope["query_string"]) | await read_form(request)
        token = values.pop("access_token", None) or bearer_token(request.headers.get("authorization", ""))
        await self.brake.wait()
        fault = self.faults.play(name, values)
        if fault is None or fault.effective_kind in {"error", "answer"}:
            return self._reply(name, token, values, fault)
        return await broken_reply(fault, lambda: self._reply(name, token, values), self.brake, request.receive)

    def _reply(self, name: str, text: str | None, values: Mapping[str, str], fault: Fault | None = None) -> Response:
        token = self.tokens.token(text) if text else None
        if token is not None:
            token.requests += 1
        try:
            answered = self.captchas.accept_answer(values)
            if fault is not None and fault.effective_kind == "error" and not (answered and fault.code == CAPTCHA):
                raise ApiError(fault.code, fault.message)  # noqa: TRY301 - all errors become a reply in one place
            with paused_gc():
                return _json(self._encoded(self._answer(name, token, values, fault.change if fault else None)))
        except ApiError as error:
            self.errors[error.code] += 1
            if token is not None:
                token.errors[error.code] += 1
            extras = self.captchas.issue() if error.code == CAPTCHA else {}
            return _json(orjson.dumps(envelope(error, name, values, extras)))

    def _answer(self, name: str, token: Token | None, values: Mapping[str, str], change: str | None) -> bytes:
        version = parse_version(values.get("v"))
        if name != "execute" and name not in METHODS:
            raise ApiError(3)
        if token is None:
            raise ApiError(5)
        token.check()
        if not self.limit.allows(token):
            raise ApiError(6)
        parameters = Parameters(values, version, token.kind)
        if name == "execute":
            return self._execute(token, parameters)
        return orjson.dumps({"response": self._call(name, token, parameters, change)})

    def _call(self, name: str, token: Token, parameters: Parameters, change: str | None = None) -> Any:
        if name not in METHODS:
            raise ApiError(3)
        self.calls += 1
        self.methods[name] += 1
        token.calls += 1
        token.check_kind(METHODS[name].kinds)
        if not self.quotas.allows(token, name):
            raise ApiError(29)
        try:
            answer = METHODS[name].answer(self.site, parameters)
            return contradicted(answer, change) if change else answer
        finally:  # between this call and the next one, which may be in the same execute
            self.churn.pass_call()

    def _execute(self, token: Token, parameters: Parameters) -> bytes:
        self.methods["execute"] += 1
        token.check_kind(("user", "group", "service") if self.service_may_execute else ("user", "group"))

        def call(name: str, values: Mapping[str, str]) -> Any:
            fault = self.faults.play(name, values, inner=True)
            if fault is not None and fault.effective_kind == "error":
                raise ApiError(fault.code, fault.message)
            inner = Parameters(values, parameters.version, token.kind)
            return self._call(name, token, inner, fault.change if fault else None)

        code = parameters.required_text("code")
        run = Run(call, {name: value for name, value in parameters.values.items() if name != "code"})
        try:
            return run.reply(code)
        finally:
            self.execute_errors.update(int(str(error["error_code"])) for error in run.errors)

    async def truth(self, request: Request) -> Response:
        """Serve `/_truth/{group_id}`: {"comments": {"<post id>": [all ids, ascending, stubs included]}}, or 404."""
        return self._wall_reply(request, Wall.truth)

    async def history(self, request: Request) -> Response:
        """Serve `/_history/{group_id}`: {"comments": {"<comment id>": facts of `history_json`}}, or 404."""
        return self._wall_reply(request, history_json)

    def _wall_reply(self, request: Request, render: Callable[[Wall], object]) -> Response:
        group_id = request.path_params["group_id"]
        wall = self.world.wall(int(group_id)) if is_number(group_id) else None
        if wall is None:
            return _json(orjson.dumps({"error": f"no community has the id {group_id}"}), 404)
        return _json(self._encoded(orjson.dumps({"comments": render(wall)})))

    def _encoded(self, reply: bytes) -> bytes:
        # searching for lone surrogates takes longer than writing the reply, and only strange texts have them
        return with_lone_surrogates(reply) if self.options.nasty else reply

    async def show(self, _request: Request) -> Response:
        """Serve GET `/_control`: options, rules, faults and counters."""
        return _json(orjson.dumps(control.state(self), option=orjson.OPT_NON_STR_KEYS))

    async def change(self, request: Request) -> Response:
        """Serve POST `/_control` (commands: see `control.apply`): the new state, or 400 with the reason."""
        try:
            done = control.apply(self, await request.body())
        except control.InvalidCommand as error:
            return _json(orjson.dumps({"error": str(error)}), 400)
        return _json(orjson.dumps(control.state(self) | done, option=orjson.OPT_NON_STR_KEYS))


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, media_type=JSON_TYPE)


def create_simulator(options: SimulatorOptions, *, clock: Callable[[], float] = time.monotonic) -> Starlette:
    """Return a VK API server as an ASGI application; `clock` returns the seconds that the rate limit uses.

    Walls are generated on first use. Serve it in one process: its world and counters are in memory.
    """
    simulator = Simulator(options, clock)
    return Starlette(
        routes=[
            Route("/method/{name:path}", simulator.method, methods=["GET", "POST"]),
            Route("/_truth/{group_id}", simulator.truth),
            Route("/_history/{group_id}", simulator.history),
            Route("/_control", simulator.show, methods=["GET"]),
            Route("/_control", simulator.change, methods=["POST"]),
            Route("/_control/rps", simulator.change, methods=["POST"]),
        ]
    )
