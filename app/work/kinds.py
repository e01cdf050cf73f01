"""The kinds of jobs. `app.background` maps each to its handler."""

from enum import Enum


class JobKind(Enum):
    """What a job does. The value is its name in the queue, in rows and in logs."""

    ANALYZE_COMMENTS = "analyze_comments"
    COLLECT_COMMENTS = "collect_comments"
    EXPORT_COMMENTS = "export_comments"
    MATCH_KEYWORDS = "match_keywords"
    REFRESH_GROUPS = "refresh_groups"
    REMOVE_GROUPS = "remove_groups"
