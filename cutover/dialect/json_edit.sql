-- Changing JSON: nodes go in coded (see json.sql) and texts without white space come out, coded too.

-- An object or array without what is NULL in `parts`; `labels` are those of an object.
CREATE OR REPLACE FUNCTION cutover.json_children(node json, OUT labels text[], OUT parts text[])
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF json_typeof(node) = 'object' THEN
        SELECT coalesce(array_agg(key ORDER BY place), '{}'), coalesce(array_agg(value::text ORDER BY place), '{}')
        INTO labels, parts FROM json_each(node) WITH ORDINALITY AS child(key, value, place);
    ELSE
        SELECT coalesce(array_agg(value::text ORDER BY place), '{}')
        INTO parts FROM json_array_elements(node) WITH ORDINALITY AS child(value, place);
    END IF;
END $$;

CREATE OR REPLACE FUNCTION cutover.json_built(labels text[], parts text[]) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN labels IS NULL THEN '[' || array_to_string(parts, ',') || ']' ELSE '{' || coalesce((
    SELECT string_agg(to_json(label)::text || ':' || part, ',' ORDER BY place)
    FROM unnest(labels, parts) WITH ORDINALITY AS child(label, part, place) WHERE part IS NOT NULL), '') || '}' END;

-- What a path that leads nowhere yet makes: objects, and arrays with a first element. NULL if it cannot.
CREATE OR REPLACE FUNCTION cutover.json_made(path text, item text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    step record;
BEGIN
    IF path = '' THEN RETURN item; END IF;
    IF path LIKE '.%' THEN
        step := cutover.json_step('{}', path);
        RETURN '{' || cutover.json_coded(to_json(step.label)::text) || ':' || cutover.json_made(step.after, item) || '}';
    END IF;
    RETURN CASE WHEN path LIKE '[0]%' THEN '[' || cutover.json_made(substr(path, 4), item) || ']' END;
END $$;

-- One change at one path. `how` is set, insert, replace or remove; NULL when the node itself is removed.
CREATE OR REPLACE FUNCTION cutover.json_changed(node json, path text, item text, how text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    step record;
    child record;
    at integer;
    made text;
BEGIN
    IF path = '' THEN
        RETURN CASE how WHEN 'insert' THEN node::text WHEN 'remove' THEN NULL ELSE item END;
    END IF;
    step := cutover.json_step(node, path);
    IF step.after IS NULL THEN RETURN node::text; END IF;
    child := cutover.json_children(node);
    at := CASE WHEN step.label IS NULL THEN step.place + 1 ELSE array_position(child.labels, step.label) END;
    IF at <= cardinality(child.parts) THEN
        child.parts[at] := cutover.json_changed(child.parts[at]::json, step.after, item, how);
    ELSIF how IN ('set', 'insert') AND coalesce(at, 0) <= cardinality(child.parts) + 1 THEN
        made := cutover.json_made(step.after, item);
        IF made IS NULL THEN RETURN node::text; END IF;
        IF step.label IS NOT NULL THEN child.labels := child.labels || regexp_replace(to_json(step.label)::text, '^"|"$', '', 'g'); END IF;
        child.parts := child.parts || made;
    END IF;
    RETURN cutover.json_built(child.labels, child.parts);
END $$;

-- json_set() and its like: `given` are paths, each with its value as JSON unless things are removed. A path beyond one
-- that got a value before leads into what stood there, which is gone.
CREATE OR REPLACE FUNCTION cutover.json_edit(x text, how text, VARIADIC given text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    width integer := CASE how WHEN 'remove' THEN 1 ELSE 2 END;
    node text := cutover.json_raw(x)::text;
    before text;
    done text[] := '{}';
    path text;
BEGIN
    IF node IS NULL THEN RETURN NULL; END IF;
    node := cutover.json_text(node);
    FOR at IN 1 .. cardinality(given) BY width LOOP
        path := given[at];
        IF path IS NULL THEN
            IF how = 'remove' THEN RETURN NULL; END IF;
            CONTINUE;
        END IF;
        IF path = '$' AND how IN ('set', 'replace') AND coalesce(given[at + 1], 'null') !~ '^\s*[{[]' THEN
            RAISE EXCEPTION 'the root of JSON cannot be replaced by a value on PostgreSQL' USING ERRCODE = '22P02';
        END IF;
        CONTINUE WHEN EXISTS (SELECT FROM unnest(done) AS one WHERE starts_with(path, one || '.') OR starts_with(path, one || '['));
        CONTINUE WHEN how = 'remove' AND path = ANY (done) AND path NOT LIKE '%]';
        before := node;
        node := cutover.json_changed(node::json, cutover.json_start(path),
            CASE WHEN width = 2 THEN cutover.json_coded(coalesce(given[at + 1], 'null')) END, how);
        IF node IS NULL THEN RETURN NULL; END IF;
        IF node <> before AND (how <> 'remove' OR path NOT LIKE '%]') OR how = 'set' OR how = 'replace' THEN
            done := done || path;
        END IF;
    END LOOP;
    RETURN cutover.json_spelled(node);
END $$;

-- json_patch(): NULL in the patch removes a key, other things replace it, objects are merged.
CREATE OR REPLACE FUNCTION cutover.json_without_nulls(node json) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    child record;
BEGIN
    IF json_typeof(node) <> 'object' THEN RETURN node::text; END IF;
    child := cutover.json_children(node);
    FOR at IN 1 .. cardinality(child.parts) LOOP
        child.parts[at] := CASE WHEN child.parts[at] <> 'null' THEN cutover.json_without_nulls(child.parts[at]::json) END;
    END LOOP;
    RETURN cutover.json_built(child.labels, child.parts);
END $$;

CREATE OR REPLACE FUNCTION cutover.json_merged(node json, patch json) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    child record;
    other record;
    at integer;
    changed boolean[] := '{}';
BEGIN
    IF json_typeof(patch) <> 'object' THEN RETURN patch::text; END IF;
    IF json_typeof(node) <> 'object' THEN RETURN cutover.json_without_nulls(patch); END IF;
    child := cutover.json_children(node);
    other := cutover.json_children(patch);
    FOR n IN 1 .. cardinality(other.parts) LOOP
        at := array_position(child.labels, other.labels[n]);
        IF at IS NULL THEN
            IF other.parts[n] <> 'null' THEN
                child.labels := child.labels || other.labels[n];
                child.parts := child.parts || cutover.json_without_nulls(other.parts[n]::json);
            END IF;
        ELSIF changed[at] IS NULL THEN
            -- What was merged is met again by a later equal key of the patch; what was replaced or removed is not.
            IF json_typeof(other.parts[n]::json) <> 'object' OR json_typeof(child.parts[at]::json) <> 'object' THEN
                changed[at] := true;
            END IF;
            child.parts[at] := CASE WHEN other.parts[n] <> 'null' THEN
                cutover.json_merged(child.parts[at]::json, other.parts[n]::json) END;
        END IF;
    END LOOP;
    RETURN cutover.json_built(child.labels, child.parts);
END $$;

CREATE OR REPLACE FUNCTION cutover.json_patch(x text, patch text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN cutover.json_spelled(cutover.json_merged(
    cutover.json_text(cutover.json_raw(x)::text)::json, cutover.json_text(cutover.json_raw(patch)::text)::json));

-- Before Postgres 16 all of this comes to json_ok(), which catches an error, as no parallel plan may.
DO $$ DECLARE
    one regprocedure;
BEGIN
    IF current_setting('server_version_num')::integer < 160000 THEN
        FOR one IN SELECT oid FROM pg_proc WHERE pronamespace = 'cutover'::regnamespace AND proname LIKE 'json%' LOOP
            EXECUTE format('ALTER FUNCTION %s PARALLEL UNSAFE', one);
        END LOOP;
    END IF;
END $$;
