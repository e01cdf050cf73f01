"""Let comments be stored faster: fewer indexes, and a trigger in place of the foreign key.

On one wall ids ascend with time, so the order of ids serves what is read wall by
wall, post by post and thread by thread, and the primary key is the index of a
wall. The foreign key looked up the post of each comment; `upsert_comments` does
that once for each post, and the trigger deletes the comments of deleted posts.
"""

from alembic import op

revision = "0006"
down_revision = "0005"

UP = """
ALTER TABLE comments DROP CONSTRAINT comments_owner_id_post_id_fkey;
DROP INDEX comments_owner_id_published_at_idx;
CREATE INDEX comments_owner_id_post_id_idx ON comments (owner_id, post_id, id);
DROP INDEX comments_owner_id_post_id_published_at_idx;

CREATE FUNCTION delete_comments_of_posts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM comments c USING gone WHERE c.owner_id = gone.owner_id AND c.post_id = gone.id;
    RETURN NULL;
END;
$$;
CREATE TRIGGER posts_delete_comments AFTER DELETE ON posts REFERENCING OLD TABLE AS gone
       FOR EACH STATEMENT EXECUTE FUNCTION delete_comments_of_posts();
"""

DOWN = """
DROP TRIGGER posts_delete_comments ON posts;
DROP FUNCTION delete_comments_of_posts;
CREATE INDEX comments_owner_id_post_id_published_at_idx ON comments (owner_id, post_id, published_at, id);
DROP INDEX comments_owner_id_post_id_idx;
CREATE INDEX comments_owner_id_published_at_idx ON comments (owner_id, published_at, id);
ALTER TABLE comments ADD CONSTRAINT comments_owner_id_post_id_fkey
      FOREIGN KEY (owner_id, post_id) REFERENCES posts (owner_id, id) ON DELETE CASCADE;
"""


def upgrade() -> None:
    _execute(UP)


def downgrade() -> None:
    _execute(DOWN)


def _execute(statements: str) -> None:
    # several at once, which only the driver's own connection takes; they run in alembic's transaction
    connection = op.get_bind().connection
    connection.run_async(lambda driver: driver.execute(statements))
