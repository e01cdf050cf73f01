import pytest

from app.simulator.errors import ApiError
from app.simulator.execute import as_parameter, check_size
from app.simulator.vkscript import parse, unquote
from tests.simulator.vk import Vk


async def test_a_list_of_calls(vk: Vk) -> None:
    post_id = await vk.fullest_post()
    code = (
        "// two pages and a wall\n"
        f'return [API.wall.getComments({{"owner_id":-1,"post_id":{post_id},"count":100}}),'
        f"API.wall.getComments({{owner_id:-1,'post_id':'{post_id}',\"offset\":100,count:100,extended:true}}),"
        "API.wall.get({owner_id:-1, /* all */ count:1,})];"
    )
    reply = await vk.reply("execute", code=code)
    assert reply.keys() == {"response"}
    first, second, wall = reply["response"]
    assert first["items"][0] == (await vk.comments(post_id, count=1))["items"][0]
    assert second == await vk.comments(post_id, count=100, offset=100, extended=1)
    assert len(wall["items"]) == 1


@pytest.mark.parametrize(
    ("code", "result"),
    [
        ("return;", None),
        ("return [];", []),
        ("return {};", {}),
        (
            "return [1, -2.5, 1e2, true, false, null, 'a\\'b', \"\\u0416\\n\"];",
            [1, -2.5, 100.0, True, False, None, "a'b", "Ж\n"],
        ),
        ('return {a: [1, 2,], "b": {3: "c"}};', {"a": [1, 2], "b": {"3": "c"}}),
        ("return 123456789012345678901234567890;", 123456789012345678901234567890.0),
        ('return "\\ud83d\\ude00 \\ud83d";', "😀 �"),
        (
            'return API.utils.resolveScreenName({"screen_name": "club1"});',
            {"type": "page", "object_id": 1, "group_id": 1},
        ),
        ("return [API.users.get()];", [False]),
        ("return API.users.get([1]);", False),
        ('return API.users.get({"user_ids": [1700000000, 1]}).length;', None),
    ],
)
async def test_results(vk: Vk, code: str, result: object) -> None:
    reply = await vk.reply("execute", code=code)
    if code.endswith(".length;"):
        assert reply["error"]["error_code"] == 12
    else:
        assert reply["response"] == result


async def test_failed_calls_are_false_in_their_places(vk: Vk) -> None:
    code = (
        'return [API.wall.get({"owner_id":-9}),API.wall.get({"owner_id":-1,"count":0}),'
        'API.wall.destroy({}),API.wall.getComments({"owner_id":-1,"post_id":0}),API.execute({code:"return 1;"})];'
    )
    reply = await vk.reply("execute", code=code)
    assert reply["response"] == [False, {"count": 12, "items": []}, False, False, False]
    assert reply["execute_errors"] == [
        {
            "method": "wall.get",
            "error_code": 100,
            "error_msg": "One of the parameters specified was missing or invalid: owner_id is invalid",
        },
        {"method": "wall.destroy", "error_code": 3, "error_msg": "Unknown method passed"},
        {
            "method": "wall.getComments",
            "error_code": 15,
            "error_msg": "Access denied: post was not found check post_id param",
        },
        {"method": "execute", "error_code": 3, "error_msg": "Unknown method passed"},
    ]


async def test_a_fault_inside(vk: Vk) -> None:
    await vk.control(faults=[{"code": 29, "method": "wall.get", "inner": True}])
    assert "count" in await vk.answer("wall.get", owner_id=-1)
    code = 'return [API.wall.get({"owner_id":-1,"count":0}),API.wall.get({"owner_id":-1,"count":0})];'
    reply = await vk.reply("execute", code=code)
    assert reply["response"] == [False, {"count": 12, "items": []}]
    assert reply["execute_errors"] == [{"method": "wall.get", "error_code": 29, "error_msg": "Rate limit reached"}]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("return 1", "';' expected, '' found in line 1"),
        ("return [1\n\n,2", "']' expected, '' found in line 3"),
        ("return {a 1};", "':' expected, '1' found in line 1"),
        ("return {a:1;", "'}' expected, ';' found in line 1"),
        ("return {[1]:1};", "'key' expected, '[' found in line 1"),
        ("var a = 1; return a;", "'return' expected, 'var' found in line 1"),
        ("return a;", "'API' expected, 'a' found in line 1"),
        ("return API.5();", "'method name' expected, '5' found in line 1"),
        ("return -;", "'number' expected, ';' found in line 1"),
        ("return );", "'expression' expected, ')' found in line 1"),
        ("return 1; return 2;", "'end of code' expected, 'return' found in line 1"),
        ('return "open;', "'expression' expected, '\"' found in line 1"),
        ("return " + "[" * 5000, "nesting is too deep in line 1"),
        ("", ""),
    ],
)
async def test_scripts_that_cannot_be_read(vk: Vk, code: str, words: str) -> None:
    told = await vk.refusal("execute", code=code)
    if code:
        assert told == (12, f"Unable to compile code: {words}")
    else:
        assert told == (100, "One of the parameters specified was missing or invalid: code is undefined")


async def test_no_more_than_25_calls(vk: Vk) -> None:
    calls = ['API.wall.get({"owner_id":-1,"count":0})'] * 25
    assert len(await vk.answer("execute", code=f"return [{','.join(calls)}];")) == 25
    assert await vk.refusal("execute", code=f"return [{','.join([*calls, calls[0]])}];") == (
        13,
        "Runtime error occurred during code invocation: too many api calls",
    )


async def test_a_reply_that_is_too_large(vk: Vk) -> None:
    post_id = await vk.fullest_post()
    comment_id = next(item["id"] for item in (await vk.comments(post_id))["items"] if "deleted" not in item)
    await vk.control(edit_comment={"group_id": 1, "comment_id": comment_id, "text": "ё" * 150_000})
    calls = ",".join([f'API.wall.getComments({{"owner_id":-1,"post_id":{post_id}}})'] * 25)
    assert await vk.refusal("execute", code=f"return [{calls}];") == (
        13,
        "Runtime error occurred during code invocation: response size is too big",
    )


def test_the_largest_reply() -> None:
    assert check_size(b"x" * 5 * 1024 * 1024)
    with pytest.raises(ApiError, match="response size is too big"):
        check_size(b"x" * (5 * 1024 * 1024 + 1))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        (["a", 1], "a,1"),
        ({"a": "ё"}, '{"a": "ё"}'),
        (None, ""),
        (True, "1"),
        (False, "0"),
        (7, "7"),
        (1.5, "1.5"),
    ],
)
def test_values_as_parameters(value: object, text: str) -> None:
    assert as_parameter(value) == text


def test_a_script_is_read_once_for_all_versions() -> None:
    assert parse("return API.a.b({});") == parse("return API.a.b();")
    assert unquote('"\\q\\t"') == "q\t"
