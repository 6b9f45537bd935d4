-- Values that may be of several storage classes: a jsonb number or text; a blob is {"x": its bytes in hex}.

CREATE OR REPLACE FUNCTION cutover.dyn(x bigint) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN to_jsonb(x);

CREATE OR REPLACE FUNCTION cutover.dyn(x numeric) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x = 'NaN' THEN NULL WHEN abs(x) = 'Infinity' THEN
        to_jsonb(cutover.misfit('an infinite number beside texts is not possible on PostgreSQL', x::text))
    WHEN abs(x) < 9007199254740992 OR (scale(x) = 0 AND x BETWEEN -9223372036854775808 AND 9223372036854775807)
        THEN to_jsonb(x)
    ELSE to_jsonb(cutover.shortest(x::double precision)) END;

CREATE OR REPLACE FUNCTION cutover.dyn(x double precision) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN cutover.dyn(cutover.shortest(x));

CREATE OR REPLACE FUNCTION cutover.dyn(x text) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN to_jsonb(x);

CREATE OR REPLACE FUNCTION cutover.dyn(x bytea) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN jsonb_build_object('x', encode(x, 'hex'));

CREATE OR REPLACE FUNCTION cutover.plain_blob(x jsonb) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN decode(x ->> 'x', 'hex');

CREATE OR REPLACE FUNCTION cutover.txt(x jsonb) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE jsonb_typeof(x) WHEN 'number' THEN cutover.txt((x #>> '{}')::numeric) WHEN 'null' THEN NULL
    WHEN 'object' THEN convert_from(cutover.plain_blob(x), 'UTF8') ELSE x #>> '{}' END;

CREATE OR REPLACE FUNCTION cutover.octets(x jsonb) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE jsonb_typeof(x) WHEN 'object' THEN cutover.plain_blob(x) ELSE convert_to(cutover.txt(x), 'UTF8') END;

-- The numeric prefix. What is no ASCII ends it, so that the bytes need not be text.
CREATE OR REPLACE FUNCTION cutover.tonum(x bytea) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN cutover.tonum(encode(x, 'escape'));

CREATE OR REPLACE FUNCTION cutover.tonum(x jsonb) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE jsonb_typeof(x) WHEN 'number' THEN (x #>> '{}')::numeric
    WHEN 'object' THEN cutover.tonum(cutover.plain_blob(x)) ELSE cutover.tonum(x #>> '{}') END;

CREATE OR REPLACE FUNCTION cutover.toint(x bytea) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN cutover.toint(encode(x, 'escape'));

CREATE OR REPLACE FUNCTION cutover.toint(x jsonb) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE jsonb_typeof(x) WHEN 'number' THEN cutover.toint((x #>> '{}')::numeric)
    WHEN 'object' THEN cutover.toint(cutover.plain_blob(x)) ELSE cutover.toint(x #>> '{}') END;

CREATE OR REPLACE FUNCTION cutover.type_of(x jsonb) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE jsonb_typeof(x) WHEN 'number' THEN cutover.type_of((x #>> '{}')::numeric) WHEN 'string' THEN 'text'
    WHEN 'object' THEN 'blob' ELSE 'null' END;

-- What is a whole number becomes an integer.
CREATE OR REPLACE FUNCTION cutover.whole(x numeric) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x = trunc(x) AND abs(x) < 9007199254740992 THEN trunc(x) ELSE x END;

CREATE OR REPLACE FUNCTION cutover.whole(x jsonb) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE jsonb_typeof(x) WHEN 'number' THEN cutover.tonum(x) ELSE cutover.whole(cutover.tonum(x)) END;

-- Affinities: a text that is a number becomes one; a number becomes text.
CREATE OR REPLACE FUNCTION cutover.as_numeric(x jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE jsonb_typeof(x) WHEN 'string' THEN coalesce(to_jsonb(cutover.aff(x #>> '{}')), x) ELSE x END;

-- As a column of NUMERIC affinity keeps it: a real that is whole becomes an integer as well.
CREATE OR REPLACE FUNCTION cutover.kept(x jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE jsonb_typeof(cutover.as_numeric(x)) WHEN 'number'
    THEN to_jsonb(cutover.whole(cutover.tonum(cutover.as_numeric(x)))) ELSE x END;

CREATE OR REPLACE FUNCTION cutover.as_text(x jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE jsonb_typeof(x) WHEN 'number' THEN to_jsonb(cutover.txt(x)) ELSE x END;

-- As a collation sees it, for equality.
CREATE OR REPLACE FUNCTION cutover.folded(x jsonb, collation_name text) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN jsonb_typeof(x) <> 'string' THEN x
    WHEN collation_name = 'NOCASE' THEN to_jsonb(lower((x #>> '{}') COLLATE "C"))
    WHEN collation_name = 'RTRIM' THEN to_jsonb(rtrim(x #>> '{}', ' ')) ELSE x END;

-- For ordering: numbers, then texts, then blobs. Texts are in hex, because jsonb sorts them by the database's collation.
CREATE OR REPLACE FUNCTION cutover.sortable(x jsonb, collation_name text) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE jsonb_typeof(x) WHEN 'number' THEN jsonb_build_array(1, x) WHEN 'object' THEN jsonb_build_array(3, x ->> 'x')
    ELSE jsonb_build_array(2, encode(convert_to(cutover.folded(x, collation_name) #>> '{}', 'UTF8'), 'hex')) END;

CREATE OR REPLACE FUNCTION cutover.lesser(a jsonb, b jsonb, collation_name text) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN a IS NULL OR cutover.sortable(b, collation_name) < cutover.sortable(a, collation_name)
    THEN b ELSE a END;

CREATE OR REPLACE FUNCTION cutover.greater(a jsonb, b jsonb, collation_name text) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN a IS NULL OR cutover.sortable(b, collation_name) > cutover.sortable(a, collation_name)
    THEN b ELSE a END;

CREATE OR REPLACE AGGREGATE cutover.first_min_of(x jsonb, collation_name text) (SFUNC = cutover.lesser, STYPE = jsonb, PARALLEL = SAFE);
CREATE OR REPLACE AGGREGATE cutover.first_max_of(x jsonb, collation_name text) (SFUNC = cutover.greater, STYPE = jsonb, PARALLEL = SAFE);

-- In a frame that slides: of equal ones the last.
CREATE OR REPLACE FUNCTION cutover.lesser_or_last(a jsonb, b jsonb, collation_name text) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN a IS NULL OR cutover.sortable(b, collation_name) <= cutover.sortable(a, collation_name)
    THEN b ELSE a END;

CREATE OR REPLACE FUNCTION cutover.greater_or_last(a jsonb, b jsonb, collation_name text) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN a IS NULL OR cutover.sortable(b, collation_name) >= cutover.sortable(a, collation_name)
    THEN b ELSE a END;

CREATE OR REPLACE AGGREGATE cutover.last_min_of(x jsonb, collation_name text) (SFUNC = cutover.lesser_or_last, STYPE = jsonb, PARALLEL = SAFE);
CREATE OR REPLACE AGGREGATE cutover.last_max_of(x jsonb, collation_name text) (SFUNC = cutover.greater_or_last, STYPE = jsonb, PARALLEL = SAFE);

-- What group_concat() joins in such a frame: SQLite loses separators, and more, once nothing but '' is left in it.
CREATE OR REPLACE FUNCTION cutover.part(x text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN x <> '' THEN x WHEN x IS NOT NULL
    THEN cutover.misfit('group_concat() of an empty text in a frame that slides is not possible on PostgreSQL', x)::text END;

-- min() and max() of several arguments: of equal ones the last and the first.
CREATE OR REPLACE FUNCTION cutover.least(collation_name text, VARIADIC given jsonb[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN array_position(given, NULL) IS NULL THEN (
    SELECT x FROM unnest(given) WITH ORDINALITY AS listed(x, place)
    ORDER BY cutover.sortable(x, collation_name), place DESC LIMIT 1) END;

CREATE OR REPLACE FUNCTION cutover.greatest(collation_name text, VARIADIC given jsonb[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN array_position(given, NULL) IS NULL THEN (
    SELECT x FROM unnest(given) WITH ORDINALITY AS listed(x, place)
    ORDER BY cutover.sortable(x, collation_name) DESC, place LIMIT 1) END;

CREATE OR REPLACE FUNCTION cutover.length(x jsonb) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE jsonb_typeof(x) WHEN 'object' THEN length(x ->> 'x') / 2 ELSE length(cutover.txt(x)) END;

CREATE OR REPLACE FUNCTION cutover.substr(x jsonb, start bigint, length bigint DEFAULT 1000000000) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE jsonb_typeof(x) WHEN 'object' THEN cutover.dyn(cutover.substr(cutover.plain_blob(x), start, length))
    ELSE cutover.dyn(cutover.substr(cutover.txt(x), start, length)) END;

-- group_concat(DISTINCT x): each text where it is first met.
CREATE OR REPLACE FUNCTION cutover.joined(given text[]) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN (
    SELECT string_agg(item, ',' ORDER BY place) FROM (
        SELECT item, min(at) AS place FROM unnest(given) WITH ORDINALITY AS all_of_them(item, at)
        WHERE item IS NOT NULL GROUP BY item) AS firsts
);

CREATE OR REPLACE FUNCTION cutover.unblobbed(x jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE jsonb_typeof(x) WHEN 'object' THEN to_jsonb(cutover.txt(x)) ELSE x END;

CREATE OR REPLACE FUNCTION cutover.instr(x bytea, part bytea) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN position(part IN x)::bigint;

CREATE OR REPLACE FUNCTION cutover.instr(x jsonb, part jsonb) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN jsonb_typeof(x) = 'object' AND jsonb_typeof(part) = 'object'
    THEN cutover.instr(cutover.plain_blob(x), cutover.plain_blob(part)) ELSE cutover.instr(cutover.txt(x), cutover.txt(part)) END;

-- A text for LIKE and GLOB, which answer in one way or another about blobs, as SQLite was built.
CREATE OR REPLACE FUNCTION cutover.unlike_blob(x jsonb) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE jsonb_typeof(x) WHEN 'object'
    THEN cutover.misfit('LIKE or GLOB on a blob is not possible on PostgreSQL', x::text)::text ELSE cutover.txt(x) END;

-- A value of any storage class on its way into a column of numbers.
CREATE OR REPLACE FUNCTION cutover.int_strict(x jsonb) RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE STRICT
RETURN CASE jsonb_typeof(x) WHEN 'number' THEN cutover.int_strict((x #>> '{}')::numeric)
    WHEN 'string' THEN cutover.int_strict(x #>> '{}')
    ELSE cutover.misfit('a blob in a column of integers cannot be stored on PostgreSQL', x::text) END;

CREATE OR REPLACE FUNCTION cutover.key_strict(x jsonb) RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE STRICT
RETURN CASE jsonb_typeof(x) WHEN 'number' THEN cutover.key_strict((x #>> '{}')::numeric)
    WHEN 'string' THEN cutover.key_strict(x #>> '{}')
    ELSE cutover.misfit('datatype mismatch', x::text) END;

CREATE OR REPLACE FUNCTION cutover.real_strict(x jsonb) RETURNS double precision LANGUAGE sql STABLE PARALLEL SAFE STRICT
RETURN CASE jsonb_typeof(x) WHEN 'number' THEN cutover.real_strict((x #>> '{}')::numeric)
    WHEN 'string' THEN cutover.real_strict(x #>> '{}')
    ELSE cutover.misfit('a blob in a column of reals cannot be stored on PostgreSQL', x::text)::double precision END;

CREATE OR REPLACE FUNCTION cutover.bool_strict(x jsonb) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE STRICT
RETURN CASE jsonb_typeof(x) WHEN 'number' THEN cutover.bool_strict(x::numeric)
    WHEN 'string' THEN cutover.bool_strict(x #>> '{}')
    ELSE cutover.misfit('a blob in a boolean column cannot be stored on PostgreSQL', x::text) = 0 END;

-- And into one of texts or blobs.
CREATE OR REPLACE FUNCTION cutover.text_strict(x jsonb) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE STRICT
RETURN CASE WHEN jsonb_typeof(x) <> 'object' THEN cutover.txt(x)
    ELSE cutover.misfit('a blob in a column of texts cannot be stored on PostgreSQL', x::text)::text END;

CREATE OR REPLACE FUNCTION cutover.blob_strict(x jsonb) RETURNS bytea LANGUAGE sql STABLE PARALLEL SAFE STRICT
RETURN CASE WHEN jsonb_typeof(x) = 'object' THEN cutover.plain_blob(x)
    ELSE convert_to(cutover.misfit('a text or a number in a column of blobs cannot be stored on PostgreSQL', x::text)::text, 'UTF8')
    END;

-- Values on their way into columns of STRICT tables: what SQLite converts is converted, anything else is its error.
CREATE OR REPLACE FUNCTION cutover.unstorable(x jsonb, declared text, place text) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN cutover.misfit(format('cannot store %s value in %s column %s',
    replace(upper(cutover.type_of(x)), 'INTEGER', 'INT'), declared, place), place);

CREATE OR REPLACE FUNCTION cutover.rigid_int_strict(x jsonb, declared text, place text) RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE STRICT
RETURN CASE WHEN cutover.type_of(cutover.kept(x)) = 'integer' THEN cutover.toint(cutover.kept(x))
    ELSE cutover.unstorable(cutover.kept(x), declared, place) END;

CREATE OR REPLACE FUNCTION cutover.rigid_real_strict(x jsonb, declared text, place text) RETURNS double precision
LANGUAGE sql STABLE PARALLEL SAFE STRICT
RETURN CASE WHEN jsonb_typeof(cutover.as_numeric(x)) = 'number' THEN (cutover.as_numeric(x) #>> '{}')::double precision
    ELSE cutover.unstorable(x, declared, place) END;

CREATE OR REPLACE FUNCTION cutover.rigid_text_strict(x jsonb, declared text, place text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE STRICT
RETURN CASE WHEN jsonb_typeof(x) = 'object' THEN cutover.unstorable(x, declared, place)::text ELSE cutover.txt(x) END;

CREATE OR REPLACE FUNCTION cutover.rigid_blob_strict(x jsonb, declared text, place text) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE STRICT
RETURN CASE WHEN jsonb_typeof(x) = 'object' THEN cutover.plain_blob(x)
    ELSE convert_to(cutover.unstorable(x, declared, place)::text, 'UTF8') END;
