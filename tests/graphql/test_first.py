from tests.conftest import Api, Wall, stored_comments


async def test_read(api: Api, wall: Wall) -> None:
    d = await api.execute(
        "{ groups { totalCount nodes { name postCount commentCount posts(first: 2) { totalCount nodes { text comments(first: 3) { totalCount pageInfo {hasNextPage endCursor} nodes { text author { name kind } thread { text } replies { nodes { text } } } } } } } } }"
    )
    print(d)


async def test_collect(vk_api: Api, simulator, vk_resources) -> None:
    d = await vk_api.execute(
        'mutation { addGroups(input: {references: ["1"]}) { ... on AddGroupsSuccess { outcomes { group { id } } } } }'
    )
    gid = d["addGroups"]["outcomes"][0]["group"]["id"]
    d = await vk_api.execute(
        "mutation($g: ID!) { startCollection(input: {groupIds: [$g]}) { ... on StartCollectionSuccess { job { id } } } }",
        g=gid,
    )
    async for m in vk_api.client.follow(d["startCollection"]["job"]["id"]):
        print(m["seq"], m["event"], m["job"]["state"], m["job"]["progress"])
    assert await stored_comments(vk_resources) == simulator.truth()
