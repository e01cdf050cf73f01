import asyncio

import httpx2
import pytest

from simulator import SimulatorOptions
from tests.simulator.vk import Vk

NO_TOKEN = "User authorization failed: no access_token passed."
NAMED = {"group_id": "1", "v": "5.199"}


@pytest.mark.parametrize(
    "send",
    [
        {"method": "GET", "params": NAMED | {"access_token": "t"}},
        {"method": "POST", "params": NAMED | {"access_token": "t"}},
        {"method": "POST", "data": NAMED | {"access_token": "t"}},
        {"method": "POST", "params": {"access_token": "t", "v": "5.199"}, "data": {"group_id": "1"}},
        {"method": "POST", "files": {name: (None, value) for name, value in (NAMED | {"access_token": "t"}).items()}},
        {"method": "GET", "params": NAMED, "headers": {"Authorization": "Bearer t"}},
        {"method": "POST", "data": NAMED, "headers": {"Authorization": "bearer t"}},
    ],
)
async def test_parameters_and_token_in_every_place(vk: Vk, send: dict[str, object]) -> None:
    reply = await vk.http.request(url="/method/groups.getById", **send)  # type: ignore[arg-type] # parameters are those of the case
    assert reply.headers["content-type"] == "application/json; charset=utf-8"
    assert reply.json()["response"]["groups"][0]["id"] == 1


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic t"}, {"Authorization": "Bearer "}])
async def test_no_token(vk: Vk, headers: dict[str, str]) -> None:
    reply = await vk.http.get("/method/wall.get", params={"owner_id": "-1", "v": "5.199"}, headers=headers)
    assert reply.status_code == 200
    assert reply.json() == {
        "error": {
            "error_code": 5,
            "error_msg": NO_TOKEN,
            "request_params": [
                {"key": "oauth", "value": "1"},
                {"key": "method", "value": "wall.get"},
                {"key": "v", "value": "5.199"},
                {"key": "owner_id", "value": "-1"},
            ],
        }
    }


async def test_the_token_is_never_returned(vk: Vk) -> None:
    await vk.control(revoke="hunted")
    for params in ({"v": "5.199"}, {}, {"v": "5.199", "owner_id": "x"}):
        for token in ("hunted", "other"):
            reply = await vk.http.get("/method/wall.get", params={**params, "access_token": token})
            assert "error" in reply.json()
            assert token not in reply.text
    assert "hunted" not in (await vk.http.get("/_control")).text


async def test_a_revoked_token(vk: Vk) -> None:
    await vk.control(revoke="secret")
    assert await vk.refusal("wall.get") == (5, "User authorization failed: invalid access_token (4).")


@pytest.mark.parametrize("name", ["wall.getcomments", "nothing", "wall/get", "__class__"])
async def test_unknown_method(vk: Vk, name: str) -> None:
    assert await vk.refusal(name) == (3, "Unknown method passed")


@pytest.mark.parametrize(
    ("version", "code", "words"),
    [
        ("", 8, "Invalid request: v (version) is required"),
        ("5.80", 8, "versions below 5.81 are deprecated"),
        ("4.104", 8, "versions below 5.81"),
        ("5.200", 100, "v is invalid"),
        ("five", 100, "v is invalid"),
    ],
)
async def test_invalid_version(vk: Vk, version: str, code: int, words: str) -> None:
    returned_code, returned = await vk.refusal("wall.get", owner_id=-1, v=version)
    assert returned_code == code
    assert words in returned


async def test_a_missing_version_is_not_returned(vk: Vk) -> None:
    reply = await vk.http.get("/method/wall.get", params={"access_token": "t"})
    assert reply.json()["error"]["error_code"] == 8
    assert [entry["key"] for entry in reply.json()["error"]["request_params"]] == ["oauth", "method"]


async def test_three_requests_a_second_for_each_token() -> None:
    vk = Vk(SimulatorOptions(posts=1, comments=1))
    async with vk.http:
        for moment, accepted in [
            (0, True),
            (0.1, True),
            (0.2, True),
            (0.3, False),
            (0.99, False),
            (1.0, True),
            (1.05, False),
        ]:
            vk.clock.now = 100 + moment
            reply = await vk.reply("wall.get", owner_id=-1)
            assert ("response" in reply) is accepted, moment
        assert reply["error"]["error_msg"] == "Too many requests per second"
        assert "response" in await vk.reply("wall.get", owner_id=-1, access_token="another")
        await vk.control(rps=0)
        assert all(["response" in await vk.reply("wall.get", owner_id=-1) for _ in range(9)])
        state = (await vk.http.post("/_control/rps", json={"rps": 1})).json()
        assert state["rps"] == 1
        assert state["errors"] == {"6": 3}
        assert state["requests"] == 17


async def test_a_body_that_is_not_a_form_has_no_parameters(vk: Vk) -> None:
    query = {"access_token": "t", "v": "5.199"}
    reply = await vk.http.post("/method/wall.get", params=query, json={"owner_id": -1})
    assert reply.json()["error"]["error_msg"].endswith("owner_id is undefined")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--x",
        b"--x\r\n\r\nlost\r\n--x--",
        b"\xff" * 50,
        b"--x\r\nContent-Disposition: form-data; name=\xff\r\n\r\n1\r\n--x--",
    ],
)
async def test_broken_multipart(vk: Vk, body: bytes) -> None:
    headers = {"content-type": "multipart/form-data; boundary=x"}
    reply = await vk.http.post("/method/wall.get?access_token=t&v=5.199", content=body, headers=headers)
    assert reply.json()["error"]["error_code"] == 100


async def test_multipart_with_large_texts_and_without_files(vk: Vk) -> None:
    query = {"access_token": "t", "v": "5.199"}
    code = f"/*{' ' * 2_000_000}*/ return [Args.name, Args.photo];"
    parts: dict[str, tuple[str | None, str | bytes]] = {
        "code": (None, code),
        "name": (None, "ж".encode()),
        "photo": ("photo.jpg", b"\xff\xd8"),
    }
    reply = await vk.http.post("/method/execute", params=query, files=parts)
    assert reply.json()["response"] == ["ж", None]


@pytest.mark.parametrize("version", ["5.81", "5.131", "5.138", "5.139", "5.199"])
async def test_every_version_since_5_81(vk: Vk, version: str) -> None:
    groups = await vk.answer("groups.getById", group_id=1, v=version)
    is_bare = version in {"5.81", "5.131", "5.138"}
    assert (groups if is_bare else groups["groups"])[0]["id"] == 1
    assert (await vk.answer("wall.get", owner_id=-1, v=version))["count"] == 12


async def test_scripted_faults_in_order(vk: Vk) -> None:
    faults = [
        {"code": 6, "method": "wall.get", "times": 2},
        {"http": 500},
        {"http": 200},
        {"code": 14},
        {"code": 9, "message": "Flood control: wait"},
        {"code": 1, "times": 0},
    ]
    state = await vk.control(faults=faults)
    assert [fault["times"] for fault in state["faults"]] == [2, 1, 1, 1, 1]
    assert (await vk.refusal("wall.get", owner_id=-1))[0] == 6
    page = await vk.http.get("/method/users.get")
    assert page.status_code == 500
    assert (await vk.refusal("wall.get", owner_id=-1))[0] == 6
    page = await vk.http.get("/method/users.get")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    captcha = (await vk.reply("wall.get", owner_id=-1))["error"]
    assert captcha["error_msg"] == "Captcha needed"
    assert {"captcha_sid", "captcha_img", "redirect_uri"} <= captcha.keys()
    assert await vk.refusal("wall.get", owner_id=-1) == (9, "Flood control: wait")
    assert "count" in await vk.answer("wall.get", owner_id=-1)
    assert (await vk.http.get("/_control")).json()["faults"] == []


async def test_hold_and_release(vk: Vk) -> None:
    await vk.control(hold=True)
    request = asyncio.create_task(vk.answer("wall.get", owner_id=-1))
    while (state := (await vk.http.get("/_control")).json())["waiting"] == 0:  # noqa: ASYNC110 - the state is remote
        await asyncio.sleep(0)
    assert (state["hold"], state["calls"]) == (True, 0)
    assert (await vk.control(hold=False))["hold"] is False
    assert (await request)["count"] == 12


async def test_delay(vk: Vk) -> None:
    assert (await vk.control(delay_ms=1))["delay_ms"] == 1
    assert "count" in await vk.answer("wall.get", owner_id=-1)


async def test_counters(vk: Vk) -> None:
    await vk.answer("wall.get", owner_id=-1)
    await vk.reply("wall.get")
    await vk.answer("execute", code='return [API.wall.get({"owner_id": -1}), API.nothing({})];')
    state = (await vk.http.get("/_control")).json()
    assert (state["requests"], state["calls"]) == (3, 3)
    assert state["methods"] == {"wall.get": 3, "execute": 1}
    assert state["errors"] == {"100": 1}
    assert state["execute_errors"] == {"3": 1}
    assert state["options"]["posts"] == 12
    assert (await vk.control(reset=True))["requests"] == 0


async def test_comments_added_while_collecting(vk: Vk) -> None:
    post_id = min(await vk.truth())
    before = (await vk.truth())[post_id]
    added = (await vk.control(add_comments={"group_id": 1, "post_id": post_id, "count": 3}))["added"]
    order = {"group_id": 1, "post_id": post_id, "count": 2, "reply_to": added[0]}
    replies = (await vk.control(add_comments=order))["added"]
    assert (await vk.truth())[post_id] == before + added + replies
    page = await vk.comments(post_id, sort="desc", count=3, thread_items_count=10)
    assert [item["id"] for item in page["items"]] == added[::-1]
    assert [item["id"] for item in page["items"][2]["thread"]["items"]] == replies
    nested = (await vk.control(add_comments={**order, "count": 1, "reply_to": replies[0]}))["added"]
    thread = await vk.comments(post_id, comment_id=added[0])
    assert thread["items"][2]["id"] == nested[0]
    assert (thread["items"][2]["parents_stack"], thread["items"][2]["reply_to_comment"]) == ([added[0]], replies[0])


async def test_comments_deleted_and_edited_while_collecting(vk: Vk) -> None:
    post_id = await vk.fullest_post()
    top, leaf = (await vk.control(add_comments={"group_id": 1, "post_id": post_id, "count": 2}))["added"]
    order = {"group_id": 1, "post_id": post_id, "count": 1, "reply_to": top}
    reply = (await vk.control(add_comments=order))["added"][0]
    await vk.control(edit_comment={"group_id": 1, "comment_id": reply, "text": "исправлено"})
    await vk.control(delete_comment={"group_id": 1, "comment_id": leaf})
    await vk.control(delete_comment={"group_id": 1, "comment_id": top})
    last = (await vk.comments(post_id, sort="desc", count=1, thread_items_count=1))["items"][0]
    assert set(last) == {"id", "date", "parents_stack", "thread", "deleted"}
    assert last["id"] == top
    assert last["thread"]["items"][0]["text"] == "исправлено"
    assert leaf not in (await vk.truth())[post_id]
    await vk.control(delete_comment={"group_id": 1, "comment_id": reply})
    assert reply not in (await vk.truth())[post_id]


async def test_posts_closed_and_deleted_while_collecting(vk: Vk) -> None:
    first, second = list(await vk.truth())[:2]
    await vk.control(close_comments={"group_id": 1, "post_id": first}, delete_post={"group_id": 1, "post_id": second})
    assert await vk.refusal("wall.getComments", owner_id=-1, post_id=first) == (212, "Access to post comments denied")
    assert (await vk.refusal("wall.getComments", owner_id=-1, post_id=second))[0] == 15
    assert (await vk.answer("wall.get", owner_id=-1))["count"] == 11


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "not JSON"),
        (b"[]", "not an object"),
        (b'{"explode": 1}', "unknown command explode"),
        (b'{"rps": -1}', "rps is not a number"),
        (b'{"rps": true}', "rps is not a number"),
        (b'{"faults": 6}', "not a list"),
        (b'{"faults": [6]}', "not an object"),
        (b'{"faults": [{"kode": 6}]}', "kode"),
        (b'{"faults": [{"times": "6"}]}', "times"),
        (b'{"faults": [{"http": 99}]}', "http"),
        (b'{"add_comments": {"group_id": 9, "post_id": 1, "count": 1}}', "group_id"),
        (b'{"add_comments": {"group_id": 1, "post_id": 0, "count": 1}}', "post_id"),
        (b'{"add_comments": {"group_id": 1, "post_id": 1}}', "count"),
        (b'{"delete_comment": {"group_id": 1, "comment_id": 1}}', "comment_id"),
    ],
)
async def test_invalid_commands(vk: Vk, body: bytes, words: str) -> None:
    answer = await vk.http.post("/_control", content=body)
    assert answer.status_code == 400
    assert words in answer.json()["error"]


@pytest.mark.parametrize("group_id", ["9", "-1", "x"])
async def test_truth_of_an_unknown_community(vk: Vk, group_id: str) -> None:
    answer: httpx2.Response = await vk.http.get(f"/_truth/{group_id}")
    assert answer.status_code == 404
