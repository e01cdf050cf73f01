"""Whatever is sent, VK replies with JSON: an answer or an error, never an HTTP error."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from simulator import ChurnRates, SimulatorOptions, create_simulator
from simulator.methods import METHODS

CLIENT = TestClient(create_simulator(SimulatorOptions(posts=5, comments=200, rps=0, day_quotas={})))
CHURN = ChurnRates(
    comments=1, replies=1, likes=1, edits=1, deletions=1.5, posts=0.1, post_deletions=0.1, limit=10**9
)  # fmt: skip
ODD = TestClient(
    create_simulator(
        SimulatorOptions(
            posts=20, comments=200, rps=0, nasty=0.5, rich=0.5, donut_share=0.3, closed_posts_share=0.2, churn=CHURN,
            day_quotas={},
        )
    )
)  # fmt: skip
NAMES = [
    "owner_id", "post_id", "offset", "count", "sort", "extended", "fields", "comment_id", "thread_items_count",
    "start_comment_id", "preview_length", "need_likes", "domain", "filter", "posts", "group_ids", "group_id",
    "user_ids", "screen_name", "code", "v", "copy_history_depth", "method", "oauth", "topic_id", "topic_ids",
    "photo_id", "video_id", "item_id", "type", "q", "query", "order", "preview", "captcha_sid", "captcha_key",
    "success_token",
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
    returned = reply.json()
    assert ("response" in returned) != ("error" in returned)
    if "error" in returned:
        assert {"error_code", "error_msg", "request_params"} <= returned["error"].keys()


@settings(max_examples=300)
@given(
    method=st.sampled_from([*METHODS, "execute"]),
    parameters=st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=8),
)
def test_any_parameters(method: str, parameters: dict[str, str]) -> None:
    sent = {"v": "5.199", "access_token": "t", "owner_id": "-1", "post_id": "1"} | parameters
    for client in (CLIENT, ODD):
        assert_answered(client.post(f"/method/{method}", data=sent))


@settings(max_examples=200)
@given(code=st.one_of(SCRIPT, SCRIPT.map(lambda each: f"return {each};"), st.text(max_size=60)))
def test_any_script(code: str) -> None:
    assert_answered(CLIENT.post("/method/execute", data={"v": "5.199", "access_token": "t", "code": code}))


@settings(max_examples=200)
@given(
    body=st.one_of(st.binary(max_size=200), st.binary(max_size=80).map(lambda each: b"--x\r\n" + each + b"\r\n--x--")),
    kind=st.sampled_from(
        ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "multipart/form-data", ""]
    ),
)
def test_any_body(body: bytes, kind: str) -> None:
    reply = CLIENT.post("/method/wall.get?access_token=t&v=5.199", content=body, headers={"content-type": kind})
    assert_answered(reply)
