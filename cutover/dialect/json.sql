-- JSON as SQLite reads it: text that keeps its order of keys, its duplicates (the first counts) and the spelling of its
-- strings, which is what keys and paths are compared by. So type json, never jsonb, and each backslash doubled, so that
-- Postgres takes the spelling for the string. A value for SQL is a jsonb scalar; objects and arrays are text.
-- 22032: the message is SQLite's.

CREATE OR REPLACE FUNCTION cutover.json_error(message text, culprit text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '%', message USING ERRCODE = '22032';
END $$;

-- Whether a text is JSON. Before Postgres 16 only an exception tells, which a parallel worker cannot catch.
CREATE OR REPLACE FUNCTION cutover.json_ok(x text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL UNSAFE STRICT AS $$
BEGIN
    PERFORM x::json;
    RETURN true;
EXCEPTION WHEN invalid_text_representation THEN
    RETURN false;
END $$;

DO $$ BEGIN
    IF current_setting('server_version_num')::integer >= 160000 THEN
        EXECUTE 'CREATE OR REPLACE FUNCTION cutover.json_ok(x text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
                 RETURN pg_input_is_valid(x, ''json'')';
    END IF;
END $$;

-- Whether no object in it has a key twice: of those SQLite reads the first, and jsonb keeps the last.
CREATE OR REPLACE FUNCTION cutover.json_distinct(x json) RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN CASE json_typeof(x)
        WHEN 'object' THEN (SELECT count(*) = count(DISTINCT key) AND coalesce(bool_and(cutover.json_distinct(value)), true)
            FROM json_each(x))
        WHEN 'array' THEN (SELECT coalesce(bool_and(cutover.json_distinct(value)), true) FROM json_array_elements(x))
        ELSE true END;
END $$;

CREATE OR REPLACE FUNCTION cutover.json_strict(x text) RETURNS json LANGUAGE plpgsql STABLE PARALLEL SAFE STRICT
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF cutover.json_ok(x) THEN
        RETURN x::json;
    END IF;
    RAISE EXCEPTION 'a text that is not JSON cannot be stored on PostgreSQL' USING ERRCODE = '22P02';
END $$;

CREATE OR REPLACE FUNCTION cutover.jsonb_strict(x text) RETURNS jsonb LANGUAGE plpgsql STABLE PARALLEL SAFE STRICT
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF cutover.json_distinct(cutover.json_strict(x)) THEN
        RETURN x::jsonb;
    END IF;
    RAISE EXCEPTION 'JSON with a key that occurs twice cannot be stored on PostgreSQL' USING ERRCODE = '22P02';
END $$;

CREATE OR REPLACE FUNCTION cutover.json_coded(x text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN strpos(x, '\') = 0 THEN x ELSE
    replace(replace(replace(replace(replace(x, '\\', E'\001'), '\"', E'\002'), '\', '\\'), E'\001', '\\\\'), E'\002', '\\\"')
    END;

CREATE OR REPLACE FUNCTION cutover.json_spelled(x text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN strpos(x, '\') = 0 THEN x ELSE
    replace(replace(replace(replace(replace(x, '\\\\', E'\001'), '\\\"', E'\002'), '\\', '\'), E'\001', '\\'), E'\002', '\"')
    END;

CREATE OR REPLACE FUNCTION cutover.json_raw(x text) RETURNS json LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN cutover.json_ok(x) THEN cutover.json_coded(x)::json
    ELSE cutover.json_error('malformed JSON', x)::json END;

-- Without white space between the parts.
CREATE OR REPLACE FUNCTION cutover.json_text(x text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x ~ '\s' THEN regexp_replace(x, '("(?:[^"\\]|\\.)*")|\s+', '\1', 'g') ELSE x END;

CREATE OR REPLACE FUNCTION cutover.json_plain(node json) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN cutover.json_spelled(cutover.json_text(node::text));

CREATE OR REPLACE FUNCTION cutover.json_kind(node json) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE json_typeof(node) WHEN 'string' THEN 'text' WHEN 'boolean' THEN trim(node::text, E' \t\n\r')
    WHEN 'number' THEN CASE WHEN node::text ~ '[.eE]' THEN 'real' ELSE 'integer' END
    ELSE json_typeof(node) END;

-- A number as SQLite reads it: an integer that is too long becomes a real.
CREATE OR REPLACE FUNCTION cutover.json_number(x text) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x !~ '[.eE]' AND x::numeric BETWEEN -9223372036854775808 AND 9223372036854775807 THEN x::jsonb
    ELSE cutover.dyn(x::double precision) END;

CREATE OR REPLACE FUNCTION cutover.json_value(node json) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE json_typeof(node) WHEN 'string' THEN cutover.json_spelled(node::text)::jsonb
    WHEN 'number' THEN cutover.json_number(node::text) WHEN 'null' THEN NULL
    WHEN 'boolean' THEN CASE WHEN node::text ~ 'true' THEN '1'::jsonb ELSE '0'::jsonb END
    ELSE to_jsonb(cutover.json_plain(node)) END;

-- The value of the first of several equal keys. Where the key is written only once, Postgres's own is the same.
CREATE OR REPLACE FUNCTION cutover.json_key(node json, label text) RETURNS json LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN length(replace(node::text, to_json(label)::text, '')) + length(to_json(label)::text) < length(node::text)
    THEN (SELECT value FROM json_each(node) AS pair(key, value) WHERE key = label LIMIT 1)
    ELSE node -> label END;

-- The first step of a path and what follows it: a key, or a place counted from 0. What is no path is an error, but only
-- where SQLite gets as far: NULL if the node has no such parts, which it notices first.
CREATE OR REPLACE FUNCTION cutover.json_step(node json, path text, OUT label text, OUT place bigint, OUT after text)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found text[];
    is_array boolean := json_typeof(node) = 'array';
BEGIN
    IF path LIKE '.%' THEN
        IF json_typeof(node) <> 'object' THEN RETURN; END IF;
        found := CASE WHEN path LIKE '."%' THEN regexp_match(path, '^\."([^"]*)"(.*)$') ELSE regexp_match(path, '^\.([^.[]+)(.*)$') END;
        IF found IS NOT NULL THEN
            label := found[1];
            after := found[2];
            RETURN;
        END IF;
        path := substr(path, 2);
    ELSE
        IF path LIKE '[#%' AND NOT is_array THEN RETURN; END IF;
        found := regexp_match(path, '^\[(?:(\d+)|#(?:-(\d+))?)\](.*)$');
        IF found IS NOT NULL THEN
            IF NOT is_array OR length(coalesce(found[1], found[2])) > 9 THEN RETURN; END IF;
            place := coalesce(found[1]::bigint, json_array_length(node) - coalesce(found[2]::bigint, 0));
            IF place >= 0 THEN after := found[3]; ELSE place := NULL; END IF;
            RETURN;
        END IF;
    END IF;
    PERFORM cutover.json_error('JSON path error near ''' || replace(path, '''', '''''') || '''', path);
END $$;

CREATE OR REPLACE FUNCTION cutover.json_start(path text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN path LIKE '$%' THEN substr(path, 2) ELSE
    cutover.json_error('JSON path error near ''' || replace(path, '''', '''''') || '''', path) END;

CREATE OR REPLACE FUNCTION cutover.json_find(node json, path text) RETURNS json LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    step record;
    simple text[] := regexp_match(path, '^\$\.([A-Za-z_]\w*)$');
BEGIN
    IF simple IS NOT NULL THEN
        RETURN CASE WHEN json_typeof(node) = 'object' THEN cutover.json_key(node, simple[1]) END;
    END IF;
    path := cutover.json_start(path);
    WHILE path <> '' AND node IS NOT NULL LOOP
        step := cutover.json_step(node, path);
        node := CASE WHEN step.label IS NOT NULL THEN cutover.json_key(node, step.label) ELSE node -> step.place::integer END;
        path := step.after;
    END LOOP;
    RETURN node;
END $$;

-- Malformed JSON is an error also where there is no path.
CREATE OR REPLACE FUNCTION cutover.json_at(x text, path text) RETURNS json LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN path IS NOT NULL OR cutover.json_raw(x) IS NULL THEN cutover.json_find(cutover.json_raw(x), path) END;

-- What stands on the right of -> and ->>: a path, a place, or a key.
CREATE OR REPLACE FUNCTION cutover.json_arrow_path(x text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x LIKE '$%' THEN x WHEN x ~ '^[0-9]' THEN '$[' || x || ']' WHEN x LIKE '[%' THEN '$' || x
    ELSE '$.' || x END;

CREATE OR REPLACE FUNCTION cutover.json_extract(x text, path text) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN cutover.json_value(cutover.json_at(x, path));

-- Several paths: an array of what is found.
CREATE OR REPLACE FUNCTION cutover.json_extracts(x text, VARIADIC paths text[]) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN x IS NOT NULL THEN (
    SELECT '[' || string_agg(coalesce(cutover.json_plain(cutover.json_at(x, path)), 'null'), ',' ORDER BY place) || ']'
    FROM unnest(paths) WITH ORDINALITY AS given(path, place)) END;

CREATE OR REPLACE FUNCTION cutover.json_arrow(x text, path text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN cutover.json_plain(cutover.json_at(x, cutover.json_arrow_path(path)));

CREATE OR REPLACE FUNCTION cutover.json_arrow_value(x text, path text) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN cutover.json_value(cutover.json_at(x, cutover.json_arrow_path(path)));

CREATE OR REPLACE FUNCTION cutover.json(x text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN cutover.json_plain(cutover.json_raw(x));

CREATE OR REPLACE FUNCTION cutover.json_valid(x text) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(cutover.json_ok(x)::integer, 0)::bigint;

CREATE OR REPLACE FUNCTION cutover.json_type(x text, path text DEFAULT '$') RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN cutover.json_kind(cutover.json_at(x, path));

CREATE OR REPLACE FUNCTION cutover.json_array_length(x text, path text DEFAULT '$') RETURNS bigint
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    node json := cutover.json_at(x, path);
BEGIN
    RETURN CASE WHEN json_typeof(node) = 'array' THEN json_array_length(node)::bigint WHEN node IS NOT NULL THEN 0 END;
END $$;

-- Values as JSON; those that are JSON already pass by.
CREATE OR REPLACE FUNCTION cutover.json_of(x bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(x::text, 'null');

CREATE OR REPLACE FUNCTION cutover.json_of(x double precision) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(cutover.txt(x), 'null');

CREATE OR REPLACE FUNCTION cutover.json_of(x numeric) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(cutover.txt(x), 'null');

CREATE OR REPLACE FUNCTION cutover.json_of(x text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(to_json(x)::text, 'null');

CREATE OR REPLACE FUNCTION cutover.json_of(x bytea) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN x IS NULL THEN 'null' ELSE cutover.json_error('JSON cannot hold BLOB values', x::text) END;

CREATE OR REPLACE FUNCTION cutover.json_of(x jsonb) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE jsonb_typeof(x) WHEN 'number' THEN cutover.txt(x) WHEN 'string' THEN to_json(x #>> '{}')::text
    WHEN 'object' THEN cutover.json_error('JSON cannot hold BLOB values', x::text) ELSE 'null' END;

-- What json_extract() finds, inside of another: an object or array stays JSON, other values are values.
CREATE OR REPLACE FUNCTION cutover.json_of_node(node json) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN json_typeof(node) IN ('object', 'array') THEN cutover.json_plain(node)
    ELSE cutover.json_of(cutover.json_value(node)) END;

CREATE OR REPLACE FUNCTION cutover.json_array(VARIADIC given text[]) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN '[' || array_to_string(given, ',', 'null') || ']';

CREATE OR REPLACE FUNCTION cutover.json_label(x text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN to_json(x)::text;

CREATE OR REPLACE FUNCTION cutover.json_named(x text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN x IS NULL THEN cutover.json_error('json_object() labels must be TEXT', x) ELSE cutover.json_label(x) END;

CREATE OR REPLACE FUNCTION cutover.json_joined(given text[]) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN '[' || coalesce((
    SELECT string_agg(item, ',' ORDER BY place) FROM (
        SELECT item, min(at) AS place FROM unnest(given) WITH ORDINALITY AS all_of_them(item, at) GROUP BY item) AS firsts
), '') || ']';
