"""Changes walls while a client pages through them: adds comments, replies and likes, edits, deletes."""

import random
from collections import Counter
from collections.abc import Callable
from typing import Final

from simulator.options import CHURN_KINDS, ChurnRates
from simulator.world import Comment, Post, Wall, World

# Ids are dense: a drawn id is nearly always a comment's. Only a wall with few comments left needs a list of them.
_TRIES: Final = 20


class Churn:
    """Changes at random places of the generated walls, between the calls of a client.

    Equal rates and equal calls in an equal order make equal changes. `made` counts the changes by kind. A drawn change
    that is impossible (an edit of a stub, a comment under a post that takes none) is skipped.
    """

    def __init__(self, world: World, rates: ChurnRates | None = None) -> None:
        self._world = world
        self.made: Counter[str] = Counter()
        self.start(rates)

    def start(self, rates: ChurnRates | None) -> None:
        """Follow these rates from now on, with a new limit and a new random source; None: stop."""
        self.rates = rates
        self._left = rates.limit if rates else 0
        self._random = random.Random(f"churn:{rates.seed if rates else 0}")  # noqa: S311 - simulated data, not a secret

    def counts(self) -> dict[str, int]:
        """Return kind of change -> number of changes made."""
        return {kind: self.made[kind] for kind in CHURN_KINDS}

    def pass_call(self) -> None:
        """Make the changes that follow one API call."""
        if self.rates is None or not self._left:
            return
        for kind in CHURN_KINDS:
            for _ in range(min(self._left, self._drawn(getattr(self.rates, kind)))):
                if self._change(kind):
                    self._left -= 1
                    self.made[kind] += 1

    def _drawn(self, expected: float) -> int:
        whole = int(expected)
        return whole + (self._random.random() < expected - whole)

    def _change(self, kind: str) -> bool:
        walls = [wall for wall in self._world.generated if wall.posts]
        return bool(walls) and _CHANGES[kind](self._random.choice(walls), self._random)


def _add_comment(wall: Wall, source: random.Random) -> bool:
    post = _post(wall, source)
    return not post.comments_closed and bool(wall.add_comments(post, 1))


def _add_reply(wall: Wall, source: random.Random) -> bool:
    comment = _comment(wall, source)
    if comment is None or comment.deleted or comment.post.comments_closed:
        return False
    return bool(wall.add_comments(comment.post, 1, comment))


def _add_like(wall: Wall, source: random.Random) -> bool:
    comment = _comment(wall, source)
    if comment is None or comment.deleted:
        return False
    comment.likes += 1
    return True


def _edit(wall: Wall, source: random.Random) -> bool:
    comment = _comment(wall, source)
    return comment is not None and not comment.deleted and wall.rewrite_comment(comment, source.getrandbits(64))


def _delete(wall: Wall, source: random.Random) -> bool:
    comment = _comment(wall, source)
    if comment is None or comment.deleted:
        return False
    wall.delete_comment(comment)
    return True


def _add_post(wall: Wall, _source: random.Random) -> bool:
    wall.add_post()
    return True


def _delete_post(wall: Wall, source: random.Random) -> bool:
    wall.delete_post(_post(wall, source))
    return True


def _post(wall: Wall, source: random.Random) -> Post:
    """Draw a post: half of the time uniformly, half of the time that of a random comment (busy posts are likelier)."""
    comment = _comment(wall, source) if source.randrange(2) else None
    return source.choice([*wall.posts.values()]) if comment is None else comment.post


def _comment(wall: Wall, source: random.Random) -> Comment | None:
    """Draw a comment or reply uniformly; None if the wall has none."""
    for _ in range(_TRIES):
        comment = wall.comments.get(source.randrange(wall.last_id) + 1)
        if comment is not None:
            return comment
    everything = [*wall.comments.values()]
    return source.choice(everything) if everything else None


_CHANGES: Final[dict[str, Callable[[Wall, random.Random], bool]]] = {
    "comments": _add_comment,
    "replies": _add_reply,
    "likes": _add_like,
    "edits": _edit,
    "deletions": _delete,
    "posts": _add_post,
    "post_deletions": _delete_post,
}
