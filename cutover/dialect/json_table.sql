-- json_each() and json_tree(): a row for each part, in the order of the document, as SQLite 3.40 numbers and names them.
-- SQLite's parser counts nodes: a value is one, a key and its value are two.

CREATE OR REPLACE FUNCTION cutover.json_below(node json) RETURNS bigint
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN CASE json_typeof(node)
        WHEN 'array' THEN (SELECT coalesce(sum(1 + cutover.json_below(value)), 0) FROM json_array_elements(node) AS part(value))
        WHEN 'object' THEN (SELECT coalesce(sum(2 + cutover.json_below(value)), 0) FROM json_each(node) AS pair(key, value))
        ELSE 0 END;
END $$;

CREATE OR REPLACE FUNCTION cutover.json_element(label text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN label ~ '^[A-Za-z][A-Za-z0-9]*$' THEN '.' || label ELSE '."' || label || '"' END;

-- The parts of an object or array. `ahead` is how many nodes their number is behind that of the whole.
CREATE OR REPLACE FUNCTION cutover.json_parts(node json)
RETURNS TABLE (label text, place bigint, value json, ahead bigint, element text)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT ROWS 20 SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    ahead := 0;
    IF json_typeof(node) = 'object' THEN
        FOR label, value IN SELECT * FROM json_each(node) LOOP
            ahead := ahead + 2;
            element := cutover.json_element(label);
            RETURN NEXT;
            ahead := ahead + cutover.json_below(value);
        END LOOP;
    ELSIF json_typeof(node) = 'array' THEN
        place := 0;
        FOR value IN SELECT * FROM json_array_elements(node) LOOP
            ahead := ahead + 1;
            element := '[' || place || ']';
            RETURN NEXT;
            place := place + 1;
            ahead := ahead + cutover.json_below(value);
        END LOOP;
    END IF;
END $$;

-- A part with all that is in it.
CREATE OR REPLACE FUNCTION cutover.json_walk(part json, name jsonb, at bigint, up bigint, whole text, above text)
RETURNS TABLE (key jsonb, value jsonb, type text, atom jsonb, id bigint, parent bigint, fullkey text, path text)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE ROWS 20 SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    child record;
BEGIN
    RETURN QUERY SELECT name, cutover.json_value(part), cutover.json_kind(part),
        CASE WHEN json_typeof(part) NOT IN ('object', 'array') THEN cutover.json_value(part) END, at, up, whole, above;
    FOR child IN SELECT * FROM cutover.json_parts(part) LOOP
        RETURN QUERY SELECT * FROM cutover.json_walk(child.value, cutover.json_name(child.label, child.place),
            at + child.ahead, at, whole || child.element, whole);
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION cutover.json_name(label text, place bigint) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN label IS NOT NULL THEN ('"' || label || '"')::jsonb ELSE to_jsonb(place) END;

-- Both functions. Below a path, json_tree() calls each place in an array above it 0, as SQLite does.
CREATE OR REPLACE FUNCTION cutover.json_rows(x text, root text, deep boolean)
RETURNS TABLE (key jsonb, value jsonb, type text, atom jsonb, id bigint, parent bigint, fullkey text, path text)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE ROWS 20 SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    node json := cutover.json_raw(x);
    after text;
    step record;
    child record;
    at bigint := 0;
    whole text := '$';
    above text := '$';
    name jsonb;
BEGIN
    IF node IS NULL OR root IS NULL THEN RETURN; END IF;
    after := cutover.json_start(root);
    WHILE after <> '' LOOP
        step := cutover.json_step(node, after);
        after := step.after;
        SELECT * INTO child FROM cutover.json_parts(node) AS part
            WHERE part.label = step.label OR part.place = step.place ORDER BY part.ahead LIMIT 1;
        IF child.value IS NULL THEN RETURN; END IF;
        node := child.value;
        at := at + child.ahead;
        above := whole;
        whole := whole || CASE WHEN step.label IS NULL THEN '[0]' ELSE child.element END;
        name := CASE WHEN json_typeof(node) IN ('object', 'array') AND step.label IS NOT NULL
            THEN cutover.json_name(step.label, NULL) END;
    END LOOP;
    IF deep THEN
        RETURN QUERY SELECT * FROM cutover.json_walk(node, name, at, NULL, whole, above);
    ELSIF json_typeof(node) IN ('object', 'array') THEN
        RETURN QUERY SELECT cutover.json_name(part.label, part.place), cutover.json_value(part.value),
            cutover.json_kind(part.value),
            CASE WHEN json_typeof(part.value) NOT IN ('object', 'array') THEN cutover.json_value(part.value) END,
            at + part.ahead, NULL::bigint, root || part.element, root
            FROM cutover.json_parts(node) AS part;
    ELSE
        RETURN QUERY SELECT NULL::jsonb, cutover.json_value(node), cutover.json_kind(node), cutover.json_value(node),
            at, NULL::bigint, root, root;
    END IF;
END $$;

CREATE OR REPLACE FUNCTION cutover.json_each(x text, root text DEFAULT '$')
RETURNS TABLE (key jsonb, value jsonb, type text, atom jsonb, id bigint, parent bigint, fullkey text, path text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 20
BEGIN ATOMIC SELECT * FROM cutover.json_rows(x, root, false); END;

CREATE OR REPLACE FUNCTION cutover.json_tree(x text, root text DEFAULT '$')
RETURNS TABLE (key jsonb, value jsonb, type text, atom jsonb, id bigint, parent bigint, fullkey text, path text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 20
BEGIN ATOMIC SELECT * FROM cutover.json_rows(x, root, true); END;

-- A value of json_each() inside of other JSON.
CREATE OR REPLACE FUNCTION cutover.json_of_part(x jsonb, type text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN type IN ('object', 'array') THEN x #>> '{}' ELSE cutover.json_of(x) END;
