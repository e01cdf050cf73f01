"""`post(s)`, `comment(s)`, `author` and their references to each other."""

import base64
import json
from datetime import UTC, datetime

import pytest

from app.json_types import JsonObject
from app.resources import Resources
from app.store import authors, comments, groups, posts
from app.wall import VkAuthor, VkComment, VkGroup, VkPost
from tests.conftest import Api, Wall, write_wall
from tests.graphql.conftest import gid

NOW = datetime.now(UTC)
COMMENTS = """
query ($filter: CommentFilter, $orderBy: CommentOrder! = OLDEST, $first: Int) {
  comments(filter: $filter, orderBy: $orderBy, first: $first) { totalCount nodes { id vkId text likeCount } }
}"""


async def test_post_with_all_fields(api: Api, wall: Wall) -> None:
    found = await api.execute(
        """query ($id: ID!) { post(id: $id) {
             id vkId vkOwnerId text publishedAt likeCount repostCount viewCount commentCount isPinned vkUrl collectedAt
             attachments { kind }
             group { name } author { name kind }
             comments(first: 2) { totalCount pageInfo { hasNextPage } nodes { text } } } }""",
        id=gid("Post", -1, wall.post_ids[0]),
    )
    assert found["post"] == {
        "id": gid("Post", -1, 1),
        "vkId": 1,
        "vkOwnerId": -1,
        "text": "Post 0",
        "publishedAt": "2026-03-01T00:01:00+00:00",
        "likeCount": 5,
        "repostCount": 1,
        "viewCount": 100,
        "commentCount": 4,
        "isPinned": False,
        "vkUrl": "https://vk.com/wall-1_1",
        "collectedAt": None,
        "attachments": [],
        "group": {"name": "Group 1"},
        "author": {"name": "Group 1", "kind": "GROUP"},
        "comments": {
            "totalCount": 4,
            "pageInfo": {"hasNextPage": True},
            "nodes": [{"text": "Comment 0 of post 0"}, {"text": "Comment 1 of post 0"}],
        },
    }


async def test_comment_with_its_thread_and_author(api: Api, wall: Wall) -> None:
    query = """query ($id: ID!) { comment(id: $id) {
        text vkUrl publishedAt changedAt isDeleted viewedAt archivedAt
        post { vkId } author { vkId name screenName isDeactivated vkUrl comments { totalCount } }
        thread { vkId } inReplyTo { vkId } replies(first: 1) { totalCount nodes { vkId } } } }"""
    top = (await api.execute(query, id=gid("Comment", -1, wall.comment_ids[0])))["comment"]
    assert top == {
        "text": "Comment 0 of post 0",
        "vkUrl": "https://vk.com/wall-1_1?reply=2",
        "publishedAt": "2026-03-01T00:02:00+00:00",
        "changedAt": None,
        "isDeleted": False,
        "viewedAt": None,
        "archivedAt": None,
        "post": {"vkId": 1},
        "author": {
            "vkId": 100,
            "name": "Author 0",
            "screenName": "id100",
            "isDeactivated": False,
            "vkUrl": "https://vk.com/id100",
            "comments": {"totalCount": 3},
        },
        "thread": None,
        "inReplyTo": None,
        "replies": {"totalCount": 1, "nodes": [{"vkId": 3}]},
    }
    reply = (await api.execute(query, id=gid("Comment", -1, wall.comment_ids[1])))["comment"]
    assert reply["thread"] == {"vkId": 2}
    assert reply["inReplyTo"] == {"vkId": 2}
    assert reply["vkUrl"] == "https://vk.com/wall-1_1?reply=3&thread=2"
    assert reply["replies"] == {"totalCount": 0, "nodes": []}


async def test_deleted_stub_has_no_author(api: Api, resources: Resources) -> None:
    await write_wall(resources, posts_count=1, comments_per_post=0)
    stub = VkComment(-1, 2, 1, None, 1_772_323_200, "", 0, [], None, None, is_deleted=True)
    async with resources.database.transaction() as connection:
        await comments.upsert_comments(connection, [stub], 0)
    found = await api.execute(
        "query ($id: ID!) { comment(id: $id) { isDeleted text author { name } } }", id=gid("Comment", -1, 2)
    )
    assert found["comment"] == {"isDeleted": True, "text": "", "author": None}


@pytest.mark.parametrize("name", ["post", "comment", "author", "job"])
async def test_objects_that_do_not_exist(api: Api, name: str) -> None:
    type_name = name.capitalize()
    key = (-1, 99) if name in ("post", "comment") else (99,)
    query = f"query ($id: ID!) {{ {name}(id: $id) {{ id }} }}"
    assert (await api.execute(query, id=gid(type_name, *key)))[name] is None
    error = await api.fail(query, id="nonsense")
    assert error["extensions"]["code"] == "VALIDATION_FAILED"


async def test_author_and_their_comments(api: Api, wall: Wall) -> None:
    assert len(wall.comment_ids) == 12
    found = await api.execute(
        """query ($id: ID!) { author(id: $id) {
             name kind vkId vkUrl comments(orderBy: OLDEST) { nodes { text } } } }""",
        id=gid("Author", -1),
    )
    assert found["author"] == {
        "name": "Group 1",
        "kind": "GROUP",
        "vkId": -1,
        "vkUrl": "https://vk.com/club1",
        "comments": {"nodes": [{"text": f"Comment 3 of post {number}"} for number in range(3)]},
    }


async def test_posts_filtered_and_ordered(api: Api, resources: Resources) -> None:
    await write_wall(resources, -1)
    await write_wall(resources, -2, posts_count=1, comments_per_post=0)
    query = """query ($filter: PostFilter, $orderBy: PostOrder! = NEWEST) {
        posts(filter: $filter, orderBy: $orderBy) { totalCount nodes { vkOwnerId vkId } } }"""

    async def ids(**variables: object) -> list[tuple[int, int]]:
        page = (await api.execute(query, **variables))["posts"]
        assert page["totalCount"] == len(page["nodes"])
        return [(node["vkOwnerId"], node["vkId"]) for node in page["nodes"]]

    assert await ids() == [(-1, 11), (-1, 6), (-1, 1), (-2, 1)]
    assert await ids(orderBy="OLDEST") == [(-2, 1), (-1, 1), (-1, 6), (-1, 11)]
    assert await ids(filter={"groupIds": [gid("Group", -2)]}) == [(-2, 1)]
    assert await ids(filter={"hasComments": False}) == [(-2, 1)]
    assert await ids(filter={"publishedFrom": "2026-03-01T00:06:00Z"}) == [(-1, 11), (-1, 6)]
    assert await ids(filter={"publishedTo": "2026-03-01T00:06:00Z"}) == [(-1, 1), (-2, 1)]
    error = await api.fail(query, filter={"groupIds": [gid("Group", -1), "x"]})
    assert error["extensions"]["fields"][0]["path"] == "filter.groupIds.1"


async def test_comments_filtered_and_ordered(api: Api, resources: Resources) -> None:
    await write_wall(resources, -1, posts_count=2)
    await write_wall(resources, -2, posts_count=1, comments_per_post=1)

    async def texts(**variables: object) -> list[str]:
        page = (await api.execute(COMMENTS, **variables))["comments"]
        assert page["totalCount"] == len(page["nodes"])
        return [node["text"] for node in page["nodes"]]

    assert len(await texts()) == 9
    assert await texts(filter={"groupIds": [gid("Group", -2)]}) == ["Comment 0 of post 0"]
    assert await texts(filter={"postIds": [gid("Post", -1, 6)]}) == [f"Comment {place} of post 1" for place in range(4)]
    assert await texts(filter={"authorIds": [gid("Author", 101)]}) == ["Comment 1 of post 0", "Comment 1 of post 1"]
    assert await texts(filter={"minLikes": 3}) == ["Comment 3 of post 0", "Comment 3 of post 1"]
    assert await texts(filter={"isDeleted": True}) == []
    assert await texts(filter={"isReply": True, "groupIds": [gid("Group", -1)]}) == [
        f"Comment {place} of post {number}" for number in range(2) for place in (1, 3)
    ]
    assert len(await texts(filter={"isReply": False})) == 5
    assert await texts(filter={"isViewed": True}) == await texts(filter={"isArchived": True}) == []
    window = {"publishedFrom": "2026-03-01T00:03:00Z", "publishedTo": "2026-03-01T00:05:00Z"}
    assert await texts(filter=window) == ["Comment 1 of post 0", "Comment 2 of post 0"]
    liked = (await api.execute(COMMENTS, orderBy="MOST_LIKED"))["comments"]["nodes"]
    assert [node["likeCount"] for node in liked] == [3, 3, 2, 2, 1, 1, 0, 0, 0]
    newest = (await api.execute(COMMENTS, orderBy="NEWEST", first=1))["comments"]["nodes"]
    assert [node["text"] for node in newest] == ["Comment 3 of post 1"]
    both = {"postIds": [gid("Post", -1, 1)], "minLikes": 2}
    assert await texts(filter=both) == ["Comment 2 of post 0", "Comment 3 of post 0"]


async def test_equal_ids_of_two_walls_are_two_objects(api: Api, resources: Resources) -> None:
    await write_wall(resources, -1)
    await write_wall(resources, -2)
    query = "query ($ids: [ID!]!) { nodes(ids: $ids) { id ... on Comment { vkOwnerId vkId } } }"
    found = (await api.execute(query, ids=[gid("Comment", -1, 2), gid("Comment", -2, 2)]))["nodes"]
    assert [(node["vkOwnerId"], node["vkId"]) for node in found] == [(-1, 2), (-2, 2)]


async def test_numbers_beyond_32_bits_and_attachments(api: Api, resources: Resources) -> None:
    big = 5_000_000_000
    photo: JsonObject = {"type": "photo", "photo": {"id": 7, "text": "Ё"}}
    async with resources.database.transaction() as connection:
        await groups.upsert_groups(connection, [VkGroup(1, "g", "G")])
        await authors.upsert_authors(connection, [VkAuthor(big, "Big", deactivated="banned")])
        await posts.upsert_posts(
            connection,
            [VkPost(-1, 1, None, 0, "", 0, 0, None, 1, is_pinned=True, attachments=[photo, {"no": "type"}])],
        )
        await comments.upsert_comments(
            connection, [VkComment(-1, big, 1, big, 0, "x", 0, [photo], None, None, is_deleted=False)], 0
        )
    found = await api.execute(
        """query ($id: ID!) { comment(id: $id) { vkId attachments { kind data } author { vkId isDeactivated }
             post { author { name } viewCount isPinned attachments { kind data } } } }""",
        id=gid("Comment", -1, big),
    )
    assert found["comment"] == {
        "vkId": big,
        "attachments": [{"kind": "photo", "data": {"id": 7, "text": "Ё"}}],
        "author": {"vkId": big, "isDeactivated": True},
        "post": {
            "author": None,
            "viewCount": None,
            "isPinned": True,
            "attachments": [{"kind": "photo", "data": {"id": 7, "text": "Ё"}}, {"kind": "unknown", "data": {}}],
        },
    }


@pytest.mark.parametrize("value", [2**53 + 1, 1.5, True, "1"])
async def test_big_int_rejects_values_out_of_range(api: Api, value: object) -> None:
    error = await api.fail("query ($vkId: BigInt) { group(vkId: $vkId) { id } }", vkId=value)
    assert "BigInt" in error["message"] or "vkId" in error["message"]


async def test_an_omitted_order(api: Api, wall: Wall) -> None:
    query = "query ($order: CommentOrder) { comments(orderBy: $order, first: 1) { nodes { vkId } } }"
    assert (await api.execute(query, order=None))["comments"]["nodes"] == [{"vkId": wall.comment_ids[-1]}]


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ("query ($v: String) { groups(filter: {search: $v}) { nodes { id } } }", {"v": "\x00"}),
        ("query ($v: String) { group(screenName: $v) { id } }", {"v": "a\x00"}),
        (
            "query ($v: DateTime) { comments(filter: {publishedFrom: $v}) { nodes { id } } }",
            {"v": "0001-01-01T00:00:00+05:00"},
        ),
    ],
)
async def test_values_out_of_range(api: Api, query: str, variables: dict[str, str]) -> None:
    error = await api.fail(query, **variables)
    assert error["extensions"]["code"] == "VALIDATION_FAILED"


async def test_a_cursor_with_a_value_out_of_range(api: Api) -> None:
    cursor = base64.urlsafe_b64encode(json.dumps(["MOST_LIKED", 2**63, -1, 1]).encode()).decode().rstrip("=")
    error = await api.fail("query ($v: String) { comments(orderBy: MOST_LIKED, after: $v) { nodes { id } } }", v=cursor)
    assert error["extensions"]["code"] == "VALIDATION_FAILED"
