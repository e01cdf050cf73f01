"""photos.getComments and video.getComments."""

from collections.abc import Collection
from typing import Final

from simulator.discussions import Discussion, MediaKind
from simulator.errors import ApiError, denied
from simulator.methods.owners import owner_of
from simulator.methods.pages import page_of, thread_of
from simulator.parameters import Parameters
from simulator.render import MAX_THREAD_ITEMS, CommentForm, Json, authors_json
from simulator.site import Site
from simulator.world import Wall

# Fields of a comment on a wall that one on a photo or on a video lacks.
_NOT_ON_PHOTOS: Final = ("post_id", "owner_id", "parents_stack", "thread", "is_from_post_author")
_NOT_ON_VIDEOS: Final = ("post_id", "is_from_post_author")


def get_photo_comments(site: Site, parameters: Parameters) -> Json:
    """photos.getComments: a page of the comments on a photo (default: 20). There are no threads.

    Raises:
        ApiError: 15, 18, 19 or 30 if the owner is not visible, 15 if the photo does not exist, 100 if a parameter is
            invalid.
    """
    photo = _found(site, parameters, "photo")
    start, page = page_of(photo.wall, photo.comments, parameters, sorts=("asc", "desc"), default=20)
    form = CommentForm(photo.wall, need_likes=parameters.flag("need_likes"))
    items = [_without(_NOT_ON_PHOTOS, form.comment(comment)) | {"pid": photo.id} for comment in page]
    answer: Json = {"count": len(photo.comments), "items": items}
    return _completed(site, parameters, answer, start, form)


def get_video_comments(site: Site, parameters: Parameters) -> Json:
    """video.getComments: a page of the comments on a video, or of the thread of `comment_id` (default: 20).

    Raises:
        ApiError: 801 if comments are closed; otherwise as photos.getComments.
    """
    video = _found(site, parameters, "video")
    if video.closed:
        raise ApiError(801)
    items_of_threads = parameters.integer("thread_items_count", minimum=0, maximum=MAX_THREAD_ITEMS)
    form = CommentForm(video.wall, need_likes=parameters.flag("need_likes"), thread_items=items_of_threads)
    thread_id = parameters.integer("comment_id")
    level = thread_of(video.wall, video.comments, thread_id) if thread_id else video.comments
    start, page = page_of(video.wall, level, parameters, sorts=("asc", "desc", "interest"), default=20)
    answer: Json = {
        "count": len(level) if thread_id else video.post.comment_count,
        "items": [_video_comment(video, form.comment(comment)) for comment in page],
        "current_level_count": len(level),
        "can_post": True,
        "show_reply_button": True,
        "groups_can_post": True,
    }
    return _completed(site, parameters, answer, start, form)


def _found(site: Site, parameters: Parameters, kind: MediaKind) -> Discussion:
    media_id = parameters.required_integer(f"{kind}_id", minimum=0)
    parameters.required_integer("owner_id")
    wall = owner_of(site.world, parameters)
    found = site.discussions.media(kind, wall, media_id) if isinstance(wall, Wall) else None
    if found is None:
        raise denied(f"{kind} was not found check {kind}_id param")
    return found


def _completed(site: Site, parameters: Parameters, answer: Json, start: int, form: CommentForm) -> Json:
    if parameters.text("start_comment_id"):
        answer["real_offset"] = start
    if parameters.flag("extended"):
        answer |= authors_json(site.world.population, form.authors, parameters.words("fields"))
    return answer


def _video_comment(video: Discussion, comment: Json) -> Json:
    made = _without(_NOT_ON_VIDEOS, comment) | {"video_id": video.id}
    if "thread" in made:
        made["thread"]["items"] = [_video_comment(video, reply) for reply in made["thread"]["items"]]
    return made


def _without(names: Collection[str], comment: Json) -> Json:
    return {name: value for name, value in comment.items() if name not in names}
