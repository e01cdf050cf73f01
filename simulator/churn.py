"""This file changes walls while a client walks them: comments, replies and likes arrive, comments and posts go."""

import random
from collections import Counter
from collections.abc import Callable
from typing import Final

from simulator.options import CHURN_KINDS, ChurnRates
from simulator.world import Comment, Post, Wall, World

# Ids are dense: a drawn one is nearly always a comment's, so only a wall with few comments left needs a list of them.
_TRIES: Final = 20


class Churn:
    """What happens between the calls of a client, at random places of the walls that have been asked for.

    Equal rates, and equal calls in an equal order, make equal changes. `made` counts the changes by kind. A change
    that is drawn for where it cannot happen (an edit for a stub, a comment where they are closed) is left out.
    """

    def __init__(self, world: World, rates: ChurnRates | None = None) -> None:
        self._world = world
        self.made: Counter[str] = Counter()
        self.start(rates)

    def start(self, rates: ChurnRates | None) -> None:
        """Follow these rates from now on, with a limit and a random source of their own; None ends it."""
        self.rates = rates
        self._left = rates.limit if rates else 0
        self._random = random.Random(f"churn:{rates.seed if rates else 0}")  # noqa: S311 - a world, not a secret

    def counts(self) -> dict[str, int]:
        """Kind of change -> how many of it were made."""
        return {kind: self.made[kind] for kind in CHURN_KINDS}

    def pass_call(self) -> None:
        """Let happen what happens after one API call."""
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
        walls = [wall for wall in self._world.made if wall.posts]
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
    """Any post as likely as any other, or, once in two times, one where much is written already."""
    comment = _comment(wall, source) if source.randrange(2) else None
    return source.choice([*wall.posts.values()]) if comment is None else comment.post


def _comment(wall: Wall, source: random.Random) -> Comment | None:
    """Any comment or reply as likely as any other; None where there is none."""
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
