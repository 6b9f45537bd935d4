-- The queue of a recursion that SQLite goes through in an order of its own: rows are arrays, the first of which is next.

CREATE OR REPLACE FUNCTION cutover.queue_rows(queue jsonb) RETURNS TABLE (item jsonb, place bigint)
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT ROWS 20
BEGIN ATOMIC
    SELECT value, ordinality FROM jsonb_array_elements(queue) WITH ORDINALITY;
END;

-- The rows of `found` that are not among those of `seen`, each once.
CREATE OR REPLACE FUNCTION cutover.queue_unseen(seen jsonb, found jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
BEGIN ATOMIC
    SELECT coalesce(jsonb_agg(item ORDER BY place), '[]'::jsonb)
    FROM (SELECT DISTINCT ON (item) item, place FROM cutover.queue_rows(found) ORDER BY item, place) AS each
    WHERE NOT EXISTS (SELECT FROM jsonb_array_elements(seen) AS other(value) WHERE other.value = each.item);
END;
