"""Whatever is sent, VK answers with JSON: an answer or an error, never an HTTP error."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app.simulator import SimulatorOptions, create_simulator

CLIENT = TestClient(create_simulator(SimulatorOptions(posts=5, comments=200, rps=0)))
METHODS = [
    "wall.get",
    "wall.getById",
    "wall.getComments",
    "groups.getById",
    "users.get",
    "utils.resolveScreenName",
    "execute",
]
NAMES = [
    "owner_id", "post_id", "offset", "count", "sort", "extended", "fields", "comment_id", "thread_items_count",
    "start_comment_id", "preview_length", "need_likes", "domain", "filter", "posts", "group_ids", "group_id",
    "user_ids", "screen_name", "code", "v", "copy_history_depth", "method", "oauth",
]  # fmt: skip
VALUES = st.one_of(
    st.integers(-5, 300).map(str),
    st.integers().map(str),
    st.sampled_from(
        ["-1", "asc", "desc", "smart", "all", "-1_1", "1,2", "club1", "5.199", "members_count", "id1700000000"]
    ),
    st.text(max_size=30),
)
SCRIPT = st.lists(
    st.sampled_from(
        ["return", " ", "[", "]", "{", "}", "API", ".wall", ".get", "(", ")", ";", ",", ":", "-", "1e999", '"a"']
    ),
    max_size=25,
).map("".join)


def assert_answered(reply: Any) -> None:
    assert reply.status_code == 200
    told = reply.json()
    assert ("response" in told) != ("error" in told)
    if "error" in told:
        assert {"error_code", "error_msg", "request_params"} <= told["error"].keys()


@settings(max_examples=300, deadline=None)
@given(method=st.sampled_from(METHODS), parameters=st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=8))
def test_any_parameters(method: str, parameters: dict[str, str]) -> None:
    sent = {"v": "5.199", "access_token": "t", "owner_id": "-1", "post_id": "1"} | parameters
    assert_answered(CLIENT.post(f"/method/{method}", data=sent))


@settings(max_examples=200, deadline=None)
@given(code=st.one_of(SCRIPT, SCRIPT.map(lambda each: f"return {each};"), st.text(max_size=60)))
def test_any_script(code: str) -> None:
    assert_answered(CLIENT.post("/method/execute", data={"v": "5.199", "access_token": "t", "code": code}))


@settings(max_examples=200, deadline=None)
@given(
    body=st.one_of(st.binary(max_size=200), st.binary(max_size=80).map(lambda each: b"--x\r\n" + each + b"\r\n--x--")),
    kind=st.sampled_from(
        ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "multipart/form-data", ""]
    ),
)
def test_any_body(body: bytes, kind: str) -> None:
    reply = CLIENT.post("/method/wall.get?access_token=t&v=5.199", content=body, headers={"content-type": kind})
    assert_answered(reply)
