import copy
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import ApiError
from simulator.execute import MAX_REPLY_BYTES, Run, Writer, as_parameter
from simulator.vkscript import parse
from simulator.vkscript.lexer import unquote
from simulator.vkscript.memory import Memory
from tests.effort import calls_of
from tests.simulator.vk import Vk

RUNTIME = "Runtime error occurred during code invocation: "


def call(method: str, parameters: Mapping[str, str]) -> Any:
    """Answer `page` with numbered items, each with a comment count of ten times its number, and reject `locked`."""
    if method == "test.locked":
        raise ApiError(15)
    offset, count = int(parameters.get("offset", "0")), int(parameters.get("count", "3"))
    items = [{"id": number, "comments": {"count": number * 10}} for number in range(offset, min(offset + count, 10))]
    return {"count": 10, "items": items, "sent": dict(parameters)}


def run(code: str, **arguments: str) -> Any:
    """Return the result of a script."""
    return json.loads(Run(call, arguments).reply(code))["response"]


def refusal(code: str, **arguments: str) -> tuple[int, str]:
    """Return the error of a script."""
    with pytest.raises(ApiError) as raised:
        Run(call, arguments).reply(code)
    return raised.value.code, raised.value.message


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
        ("return [API.wall.get()];", [False]),
        ("return API.wall.get([1]);", False),
        ('return API.users.get({"user_ids": [1700000000, 1]}).length;', 1),
    ],
)
async def test_results(vk: Vk, code: str, result: object) -> None:
    assert (await vk.reply("execute", code=code))["response"] == result


async def test_failed_calls_are_false_at_their_positions(vk: Vk) -> None:
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
    ("code", "result"),
    [
        ("", None),
        ("var a = 1, b; b = a; a += 2; a -= 0.5; return [a, b];", [2.5, 1]),
        ("var a = {n: 1}; a.b = 2; a['c'] = 3; a.n += 5; return a;", {"n": 6, "b": 2, "c": 3}),
        ("var d = [1]; d[1] = 2; d[0] = 9; d['1'] += 1; return d;", [9, 3]),
        ("var a = {x: {y: [1, {z: 2}]}}; a.x.y[1].z -= 1; return a.x.y[1].z;", 1),
        ("var a, b; a = b = 4; return [a, b];", [4, 4]),
        ("var a = [1]; var b = a; b.push(2); return a;", [1, 2]),
        ("var i = 0, sum = 0; while (i < 4) { i = i + 1; sum = sum + i; }; return sum;", 10),
        ("var i = 0; while (i < 4) i += 1; return i;", 4),
        ("var i = 0; while (true) { if (i == 7) return i; i += 1; }", 7),
        ("if (1) { return 'a'; } else return 'b';", "a"),
        ("if (0) return 'a'; else if ('') return 'b'; else if ([]) return 'c'; else return 'd';", "c"),
        ("if (null) return 1; ;;", None),
        ("return 1 ? 2 ? 'a' : 'b' : 'c';", "a"),
        ("return [null || 5, 0 || '' || false, 1 && 2, 0 && 2];", [5, False, 2, 0]),
        ("return [1 || API.test.locked(), null && API.test.locked()];", [1, None]),
        ("return [!0, !!'a', !null, -(-3), -true, !-1];", [True, True, True, 3, -1, False]),
        ("return [1 < 2, 2 <= 2, 3 > 4, 4 >= 5, -1.5 < -1];", [True, True, False, False, True]),
        ("return ['a' < 'b', 'b' <= 'a', null < 1, false >= 0];", [True, False, True, True]),
        ("return [1 == 1.0, '1' == 1, 1 != '2', 'a' == 'a', true == 1];", [True] * 5),
        ("return [null == false, 'x' == 0, [] == [], null != null];", [False] * 4),
        ("var a = []; return [a == a, a != {}, {} == null];", [True, True, False]),
        ("return [1 + 2 * 3 - 4, (1 + 2) * 3, 7 / 2, 6 / 2, 7 % 3, -7 % 3];", [3, 9, 3.5, 3, 1, -1]),
        ("return [7.5 % 2, 6.0 / 2, 2 * 1.5, '6' * '7', 1 - 1 - 1, 100 / 10 / 2];", [1.5, 3.0, 3.0, 42, -1, 5]),
        ("return [1 + true + null, 4611686018427387904 * 4];", [2, 18446744073709551616.0]),
        (
            "return ['a' + 1 + 2.5 + parseDouble('3'), 1 + 'a', 'a' + null + true + false];",
            ["a12.53", "1a", "anulltruefalse"],
        ),
        ("return [[1] + [2, 3], [1] + null, false + [1], [] + []];", [[1, 2, 3], [1], [1], []]),
        ("var a = [5, 6, 7]; return [a[0], a[1.0], a['2'], a.length, a[a.length - 1]];", [5, 6, 7, 3, 7]),
        ("var a = [5, 6]; return [a[3], a[-1], a[0.5], a['x'], a[null], a[true], a.x];", [None] * 7),
        ("return ['añ'[1], 'abc'.length, 'abc'[9], {length: 4}.length];", ["ñ", 3, None, 4]),
        ("return [{a: 1}['a'], {'1': 2}[1], {a: 1}.b];", [1, 2, None]),
        ("return [null.a.b[1], false.items, API.test.locked().items[0].id];", [None, None, None]),
        ("var a = [1, 2, 3]; return [a.slice(1), a.slice(1, 2), a.slice(-1)];", [[2, 3], [2], [3]]),
        ("var a = [1, 2, 3]; return [a.slice(), a.slice(9), a.slice(0, -1)];", [[1, 2, 3], [], [1, 2]]),
        ("var a = [1, 2, 3, 4]; return [a.splice(1, 2), a];", [[2, 3], [1, 4]]),
        (
            "var a = [1, 2]; return [a.splice(-1, 1, 'x', 'y'), a.splice(9, 1), a.splice(2), a];",
            [[2], [], ["y"], [1, "x"]],
        ),
        ("var a = []; return [a.push(1, 2), a.pop(), a.unshift(0, 5), a.shift(), a];", [2, 2, 3, 0, [5, 1]]),
        ("return [[].pop(), [].shift()];", [None, None]),
        ("return [[1, 'b', null].indexOf('b'), [1].indexOf(7), [null].indexOf()];", [1, -1, 0]),
        ("return ['abcb'.indexOf('b'), 'abc'.indexOf('x')];", [1, -1]),
        ("return ['abcdef'.substr(1, 3), 'abc'.substr(1), 'abc'.substr(-2, 1)];", ["bcd", "bc", "b"]),
        ("return ['abc'.substr(1, -1), 'abc'.substr(), 'abc'.substr(9)];", ["", "abc", ""]),
        ("return ['a,b'.split(','), 'ab'.split(''), 'a,b'.split(), 'ab'.split('x')];", [["a", "b"]] * 3 + [["ab"]]),
        ("return [parseInt('12px'), parseInt(' -7.9'), parseInt('x'), parseInt(2.7)];", [12, -7, 0, 2]),
        ("return [parseInt(null), parseInt(true), parseInt([])];", [0, 1, 0]),
        ("return [parseDouble('1.5e2x'), parseDouble('x'), parseDouble(3), parseDouble([])];", [150.0, 0.0, 3.0, 0.0]),
        ("return parseInt('" + "9" * 400 + "') > 1000;", True),
        ("var a = {b: 1, c: 2}; delete a.b; delete a['none']; delete a.c.x; return a;", {"c": 2}),
        ("var d = [1, 2]; delete d[0]; delete d[9]; return d;", [None, 2]),
        ("var a = 1; delete a; return a;", None),
        ("return [Args.q, Args.none, Args];", ["text", None, {"q": "text", "n": "7"}]),
        ("return parseInt(Args.n) + 1;", 8),
        ("return API.test.page({count: 4}).items@.id;", [0, 1, 2, 3]),
        ("return API.test.page({count: 3}).items@.comments@.count;", [0, 10, 20]),
        ("return [null@.id, [1, null, {id: 2}]@.id, [[1, 2], 'abc']@.length];", [None, [None, None, 2], [2, 3]]),
        (
            (
                "var length, got = 0, most = parseInt(Args.n) + 3, all = [], page; while (got < most && length != 0) {"
                "page = API.test.page({offset: got, count: 4}); length = page.items.length; got += length;"
                "if (page.items) all = all + page.items; if (page.none) all = all + page.none; }"
                "return {got: got, ids: all@.id, first: all.splice(0, 2)@.id};"
            ),
            {"got": 10, "ids": [*range(10)], "first": [0, 1]},
        ),
        (
            "var a = [[1], 'x', {b: [2, null]}], i = 0; while (i < 50) { a.push(i); i += 1; } return a;",
            [[1], "x", {"b": [2, None]}, *range(50)],
        ),
        ("var p = API.test.page({count: 1}); p.items.push(p.items[0]); p.items[0].id = 5; return p.items@.id;", [5, 5]),
        (
            "return API.test.page({a: [1, 'b', [2], {c: 3}], b: true, c: false, d: null, e: 1.5, f: {g: 'ё'}}).sent;",
            {"a": '1,b,[2],{"c":3}', "b": "1", "c": "0", "d": "", "e": "1.5", "f": '{"g":"ё"}'},
        ),
        ("/* a */ return /* b */ 'it\\'s // no comment'; // c", "it's // no comment"),
        ("return {'a-b': 1, c: [1, 2,],};", {"a-b": 1, "c": [1, 2]}),
        ("var if_ = 1, $a = 2; return if_ + $a;", 3),
        ("var a = 1; { var b = 2; a = b; } return a + b;", 4),
        ("return" + " 1 +" * 3000 + " 1;", 3001),
        ("var a = 1; return " + "!" * 4001 + "a;", False),
        ("var a = 3; return " + "a == 1 ? 1 : (" * 8 + "2" + ")" * 8 + ";", 2),
        ("if (0) {} " + "else if (0) {} " * 500 + "else return 1;", 1),
    ],
)
def test_the_language(code: str, result: object) -> None:
    assert run(code, q="text", n="7") == result


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("return 1", "';' expected, '' found in line 1"),
        ("return [1\n\n,2", "']' expected, '' found in line 3"),
        ("return {a 1};", "':' expected, '1' found in line 1"),
        ("return {a:1;", "'}' expected, ';' found in line 1"),
        ("return {[1]:1};", "'key' expected, '[' found in line 1"),
        ("return a;", "undefined identifier 'a' in line 1"),
        ("a = 1; var a;", "undefined identifier 'a' in line 1"),
        ("return API.5();", "'method name' expected, '5' found in line 1"),
        ("return API.a.b;", "'(' expected, ';' found in line 1"),
        ("return API.a.b({}, 1);", "')' expected, ',' found in line 1"),
        ("return -;", "'expression' expected, ';' found in line 1"),
        ("return );", "'expression' expected, ')' found in line 1"),
        ('return "open;', "'expression' expected, '\"' found in line 1"),
        ("return [" + "1," * 100_000 + "1];", "code is too long in line 1"),
        ("return " + "[" * 5000, "nesting is too deep in line 1"),
        ("{" * 5000, "nesting is too deep in line 1"),
        ("return " + "1 ? 1 : " * 5000 + "1;", "nesting is too deep in line 1"),
        ("var a; " + "a = " * 5000 + "1;", "nesting is too deep in line 1"),
        ("if (1) " * 5000 + ";", "nesting is too deep in line 1"),
        ("{ return 1;", "'}' expected, '' found in line 1"),
        ("var 1;", "'variable name' expected, '1' found in line 1"),
        ("var while = 1;", "'variable name' expected, 'while' found in line 1"),
        ("return else;", "'expression' expected, 'else' found in line 1"),
        ("var a;\nreturn a.1;", "'member name' expected, '1' found in line 2"),
        ("var a; return a@.[0];", "'member name' expected, '[' found in line 1"),
        ("return 'a'.toUpperCase();", "undefined method 'toUpperCase' in line 1"),
        ("API.a.b() = 1;", "non-variable in assignment in line 1"),
        ("Args.a = 1;", "non-variable in assignment in line 1"),
        ("var a; a.slice() += 1;", "non-variable in assignment in line 1"),
        ("var a; a + 1 = 2;", "non-variable in assignment in line 1"),
        ("delete 5;", "non-variable in delete in line 1"),
        ("return 1e999;", "number is too large in line 1"),
        ("while 1;", "'(' expected, '1' found in line 1"),
        ("return parseInt 1;", "'(' expected, '1' found in line 1"),
    ],
)
def test_scripts_that_cannot_be_parsed(code: str, words: str) -> None:
    assert refusal(code) == (12, f"Unable to compile code: {words}")


COMPARING = "Comparing values of different or unsupported types"
ADDING = "Adding values of different or unsupported types"
PUTTING = "Assigning to a member of an unsupported type"
OPERATIONS = "too many operations"
TOO_BIG = "response size is too big"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("return API.test.locked().items.slice(1);", "Method slice requires an array"),
        ("return 'a'.push(1);", "Method push requires an array"),
        ("return [].substr(1);", "Method substr requires a string"),
        ("return null.split(',');", "Method split requires a string"),
        ("return null.indexOf(1);", "Method indexOf requires an array"),
        ("return 1 < 'a';", COMPARING),
        ("return [] > 1;", COMPARING),
        ("return [1] + 1;", ADDING),
        ("return {} + 1;", "Number expected"),
        ("return 'a' - 1;", "Number expected"),
        ("return 'a' + {};", "Text expected"),
        ("return {}[[]];", "Text expected"),
        ("return 1 / 0;", "Division by zero"),
        ("return 5 % null;", "Division by zero"),
        ("var a = 1e300; return a * a;", "Number is too large"),
        ("var a; a.b = 1;", PUTTING),
        ("var a = 'text'; a[0] = 'x';", PUTTING),
        ("var a = []; a[1] = 1;", PUTTING),
        ("while (true);", OPERATIONS),
        ("while (1) {}", OPERATIONS),
        ("var a = [0]; while (1) a = a + a;", OPERATIONS),
        ("var a = 'x'; while (1) a += a;", OPERATIONS),
        ("var a = [1]; while (1) { a = a.slice(0) + a; }", OPERATIONS),
        ("while (1) { var a = [" + "[]," * 2_000 + "]; }", OPERATIONS),
        ("var a = []; while (1) a = [a, a];", OPERATIONS),
        ("var a = [], i = 0; while (i < 60) { a = [a, a, 'text']; i += 1; } return a;", OPERATIONS),
        ("var a = {}; a.a = a; return a;", TOO_BIG),
        ("var p = API.test.page(); p.items.push(p); return p;", TOO_BIG),
        (
            "var p = API.test.page(); while (1) { p.items.push(API.test.page()); p.items[3] = p.items; }",
            OPERATIONS[:9] + "api calls",
        ),
        ("var a = []; a.push(a); return API.test.page({a: a});", TOO_BIG),
        (
            "var a = 'x', i = 0; while (i < 20) { a += a; i += 1; } return API.test.page({a: [a, a, a, a, a, a]});",
            TOO_BIG,
        ),
        ("var a = 'x', i = 0; while (i < 20) { a += a; i += 1; } return [a, a, a, a, a, a];", TOO_BIG),
        ("var i = 0; while (i < 26) { API.test.page(); i += 1; }", "too many api calls"),
    ],
)
def test_scripts_that_cannot_be_run(code: str, words: str) -> None:
    assert refusal(code) == (13, RUNTIME + words)


def test_answers_are_not_changed() -> None:
    kept = {"items": [{"id": 1, "sizes": [1, 2]}, {"id": 2}], "count": 2}
    before = copy.deepcopy(kept)
    code = """
        var one = API.a.b(), two = API.a.b(), items = one.items, list = [one, 0];
        one.count = 5; items.push(two.items.pop()); items[0].sizes.shift(); list[0].items[1].id += 5;
        delete one.items[0].id; list.unshift(two.items[0].sizes); two.items[0].sizes[0] = "x";
        return [one, two, items, list];
    """
    returned = json.loads(Run(lambda _method, _parameters: kept, {}).reply(code))["response"]
    assert kept == before
    # both calls got the same object, and the script sees it as one
    items = [{"sizes": ["x"]}, {"id": 7}]
    one = {"items": items, "count": 5}
    assert returned == [one, one, items, [["x"], one, 0]]


def test_operations_are_counted() -> None:
    assert run("var i = 0; while (i < 499) i += 1;") is None
    assert refusal("var i = 0; while (i < 500) i += 1;") == (13, RUNTIME + OPERATIONS)


WORDS = (
    "var ", "a", "b", "c", "=", "+=", "-=", "==", "!=", "<", ">=", "+", "-", "*", "/", "%", "!", "&&", "||", "?", ":",
    "(", ")", "[", "]", "{", "}", ";", ",", ".", "@.", "if", "else ", "while", "return ", "delete ", "Args", "API",
    "API.test.page", "API.test.locked()", ".slice(", ".splice(", ".push(", ".pop()", ".shift()", ".unshift(",
    ".substr(", ".split(", ".indexOf(", ".length", "parseInt(", "parseDouble(", "1", "2.5", "1e300", "'text'", '"7"',
    "null", "true", "[1,[2]]", "{x:a}", "\n", "//", "/*", "*/", "\u2028", "\\", "'",
)  # fmt: skip
SOUP = st.lists(st.sampled_from(WORDS), max_size=40).map("".join)
EXPRESSIONS = st.recursive(
    st.sampled_from(["a", "b", "c", "1", "'x'", "null", "[1,2]", "{a:1}", "API.test.page()", "Args"]),
    lambda inner: st.one_of(
        st.builds("({}{}{})".format, inner, st.sampled_from(["+", "-", "*", "/", "%", "<", "==", "&&", "||"]), inner),
        st.builds("({}.{}({}))".format, inner, st.sampled_from(["slice", "splice", "push", "indexOf", "split"]), inner),
        st.builds("({} = {})".format, st.sampled_from("abc"), inner),
        st.builds("({}[{}])".format, inner, inner),
        st.builds("({0}@.a + [{0}, {0}])".format, inner),
        st.builds("(!{0} ? -{0} : parseInt({0}))".format, inner),
    ),
    max_leaves=12,
)


@settings(max_examples=200)
@given(code=st.one_of(SOUP, SOUP.map("var a = [1, 'b', {{c: 2}}], b = 5, c; return {0};".format)))
def test_any_text_is_answered_or_rejected(code: str) -> None:
    answered_or_rejected(code)


@settings(max_examples=60)
@given(lines=st.lists(EXPRESSIONS, max_size=6))
def test_any_script_is_answered_or_rejected(lines: list[str]) -> None:
    body = "".join(f"c = {line};" for line in lines)
    answered_or_rejected(f"var a = 1, b = [1, [2]], c, i = 0; while (i < 30) {{ i += 1; {body} }} return [a, b, c];")


def answered_or_rejected(code: str) -> None:
    try:
        returned = json.loads(Run(call, {}).reply(code))
    except ApiError as error:
        returned = {"code": error.code}
    assert "response" in returned or returned["code"] in {12, 13}


def test_the_maximum_nesting_of_scripts() -> None:
    level = "[{a: 0 || 1 && 1 == 1 < 1 + 1 * -("
    deep = level * 9 + "1" + ")}.a][0]" * 9
    assert run(f"return {deep};") is False
    assert refusal(f"return {level}{deep})}}.a][0];") == (12, "Unable to compile code: nesting is too deep in line 1")


async def test_no_more_than_25_calls(vk: Vk) -> None:
    calls = ['API.wall.get({"owner_id":-1,"count":0})'] * 25
    assert len(await vk.answer("execute", code=f"return [{','.join(calls)}];")) == 25
    assert await vk.refusal("execute", code=f"return [{','.join([*calls, calls[0]])}];") == (
        13,
        "Runtime error occurred during code invocation: too many api calls",
    )


async def test_an_empty_script(vk: Vk) -> None:
    assert await vk.refusal("execute", code="") == (
        100,
        "One of the parameters specified was missing or invalid: code is undefined",
    )


async def test_other_parameters_are_arguments(vk: Vk) -> None:
    code = "return [Args.owner, Args.code, Args.access_token];"
    assert await vk.answer("execute", code=code, owner=-1) == ["-1", None, None]


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
    value = ["x" * (MAX_REPLY_BYTES - 4)]
    assert len(Writer(Memory()).json(value)) == MAX_REPLY_BYTES
    memory = Memory()
    with pytest.raises(ApiError, match="response size is too big"):
        Writer(memory).json(memory.hold([*value, 1]))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        (["a", 1], "a,1"),
        ({"a": "ё"}, '{"a":"ё"}'),
        (None, ""),
        (True, "1"),
        (False, "0"),
        (7, "7"),
        (1.5, "1.5"),
        (3.0, "3"),
    ],
)
def test_values_as_parameters(value: object, text: str) -> None:
    assert as_parameter(value, Memory()) == text


def test_equivalent_spellings_are_parsed_alike() -> None:
    assert parse("return API.a.b({});") == parse("return API.a.b();")
    assert unquote('"\\q\\t"') == "q\t"


def test_pages_are_returned_without_a_copy() -> None:
    page = {"count": 100, "items": [{"id": number, "text": "слово " * 20} for number in range(100)]}
    code = "var i = 0, pages = []; while (i < 25) { pages.push(API.test.page({offset: i})); i += 1; } return pages;"

    calls = calls_of(lambda: Run(lambda _method, _parameters: page, {}).reply(code))
    assert calls < calls_of(lambda: [copy.deepcopy(page) for _ in range(25)]) / 10
