-- Functions with SQLite's results, for translated statements. All in schema cutover, all idempotent.
-- SQL bodies are bound when they are created, so that no search_path can change what they mean.

-- Raise an error from inside an expression. 22P02: the value does not fit the column's type. It is given the culprit
-- so that no plan for any arguments takes it for a constant, and raises the error before there is a value.
CREATE OR REPLACE FUNCTION cutover.misfit(message text, culprit text) RETURNS bigint LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RAISE EXCEPTION '%', message USING ERRCODE = '22P02';
END $$;

-- A real as SQLite prints it: 15 digits, always with a decimal point.
CREATE OR REPLACE FUNCTION cutover.txt(x double precision) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    written text;
    mantissa text;
    exponent integer;
BEGIN
    IF x = 'Infinity' THEN RETURN 'Inf'; ELSIF x = '-Infinity' THEN RETURN '-Inf'; ELSIF x = 0 THEN RETURN '0.0'; END IF;
    written := trim(to_char(x, '9.99999999999999EEEE'));
    mantissa := rtrim(rtrim(split_part(written, 'e', 1), '0'), '.');
    exponent := split_part(written, 'e', 2)::integer;
    IF exponent BETWEEN -4 AND 14 THEN
        written := trim_scale(x::numeric)::text;
        RETURN CASE WHEN written LIKE '%.%' THEN written ELSE written || '.0' END;
    END IF;
    RETURN CASE WHEN mantissa LIKE '%.%' THEN mantissa ELSE mantissa || '.0' END
        || 'e' || CASE WHEN exponent < 0 THEN '-' ELSE '+' END || lpad(abs(exponent)::text, greatest(2, length(abs(exponent)::text)), '0');
END $$;

-- A numeric stands for an integer (scale 0) or a real.
CREATE OR REPLACE FUNCTION cutover.txt(x numeric) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN scale(x) = 0 THEN x::text ELSE cutover.txt(x::double precision) END;

-- An integer or a real as a numeric whose scale still tells which it was.
CREATE OR REPLACE FUNCTION cutover.num(x bigint) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN x::numeric;

CREATE OR REPLACE FUNCTION cutover.num(x double precision) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN scale(x::text::numeric) = 0 THEN x::text::numeric + 0.0 ELSE x::text::numeric END;

CREATE OR REPLACE FUNCTION cutover.num(x numeric) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT RETURN x;

-- The numeric prefix of a text, 0 without one.
CREATE OR REPLACE FUNCTION cutover.tonum(x text) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE
    WHEN x ~ '^\s*[+-]?\d{1,18}(?![\d.eE])' THEN (substring(x from '^\s*([+-]?\d+)'))::numeric
    WHEN x ~ '^\s*[+-]?(\d+\.?\d*|\.\d+)' THEN
        cutover.num(substring(x from '^\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)')::double precision)
    ELSE 0::numeric
END;

CREATE OR REPLACE FUNCTION cutover.toint(x numeric) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE
    WHEN x >= 9223372036854775807 THEN 9223372036854775807
    WHEN x <= -9223372036854775808 THEN (-9223372036854775808)::bigint
    ELSE trunc(x)::bigint
END;

CREATE OR REPLACE FUNCTION cutover.toint(x double precision) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE
    WHEN x >= 9223372036854775807 THEN 9223372036854775807
    WHEN x <= -9223372036854775808 THEN (-9223372036854775808)::bigint
    ELSE trunc(x)::bigint
END;

CREATE OR REPLACE FUNCTION cutover.toint(x text) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN cutover.toint(coalesce(substring(x from '^\s*([+-]?\d+)'), '0')::numeric);

-- Numeric affinity: the number that the whole text is, else NULL.
CREATE OR REPLACE FUNCTION cutover.aff(x text) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x ~ '^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$' THEN cutover.tonum(x) END;

CREATE OR REPLACE FUNCTION cutover.aff_int(x text) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN cutover.aff(x) = trunc(cutover.aff(x)) AND abs(cutover.aff(x)) < 9223372036854775807
    THEN cutover.aff(x)::bigint END;

-- What a column can hold, or an error: nothing is rounded silently.
CREATE OR REPLACE FUNCTION cutover.int_strict(x numeric) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x = trunc(x) THEN x::bigint
    ELSE cutover.misfit('a real in a column of integers cannot be stored on PostgreSQL', x::text) END;

CREATE OR REPLACE FUNCTION cutover.int_strict(x double precision) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x = trunc(x) THEN x::bigint
    ELSE cutover.misfit('a real in a column of integers cannot be stored on PostgreSQL', x::text) END;

CREATE OR REPLACE FUNCTION cutover.int_strict(x text) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN cutover.aff_int(x) IS NOT NULL THEN cutover.aff_int(x)
    ELSE cutover.misfit('a text in a column of integers cannot be stored on PostgreSQL', x::text) END;

CREATE OR REPLACE FUNCTION cutover.real_strict(x numeric) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN x::double precision;

CREATE OR REPLACE FUNCTION cutover.real_strict(x text) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN cutover.aff(x) IS NOT NULL THEN cutover.aff(x)::double precision
    ELSE cutover.misfit('a text in a column of reals cannot be stored on PostgreSQL', x::text) END;

CREATE OR REPLACE FUNCTION cutover.bool_strict(x numeric) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x IN (0, 1) THEN x = 1
    ELSE cutover.misfit('a number other than 0 and 1 cannot be stored in a boolean column', x::text) = 0 END;

CREATE OR REPLACE FUNCTION cutover.bool_strict(x bigint) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN cutover.bool_strict(x::numeric);

CREATE OR REPLACE FUNCTION cutover.bool_strict(x text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN cutover.bool_strict(cutover.int_strict(x)::numeric);

CREATE OR REPLACE FUNCTION cutover.numeric_strict(x numeric, places integer) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x = round(x, places) THEN x
    ELSE cutover.misfit('a number with more decimals than its column has cannot be stored on PostgreSQL', x::text)::numeric END;

-- Points in time as text, without an offset or in UTC, and with no more decimals than the column has.
CREATE OR REPLACE FUNCTION cutover.timestamp_strict(x text, places integer) RETURNS timestamp
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF x ~ ('^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,' || greatest(places, 1) || '})?)?)?(Z|\+00:00)?$')
        AND (places > 0 OR position('.' in x) = 0)
    THEN
        RETURN regexp_replace(x, '(Z|\+00:00)$', '')::timestamp;
    END IF;
    RAISE EXCEPTION 'a text that is no point in time in UTC cannot be stored on PostgreSQL' USING ERRCODE = '22P02';
END $$;

CREATE OR REPLACE FUNCTION cutover.timestamptz_strict(x text, places integer) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT RETURN cutover.timestamp_strict(x, places) AT TIME ZONE 'UTC';

CREATE OR REPLACE FUNCTION cutover.date_strict(x text, places integer) RETURNS date
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x ~ '^\d{4}-\d\d-\d\d$' THEN cutover.timestamp_strict(x, places)::date
    WHEN cutover.misfit('a text that is no day cannot be stored on PostgreSQL', x::text) = 0 THEN NULL END;

-- Values that may be integers or reals: with a real it is a computation of doubles, as SQLite's; of integers it is exact, or a
-- real where 64 bits do not hold it.
CREATE OR REPLACE FUNCTION cutover.within(x numeric) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x BETWEEN -9223372036854775808 AND 9223372036854775807 THEN x
    ELSE cutover.num(x::double precision) END;

CREATE OR REPLACE FUNCTION cutover.add(a numeric, b numeric) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN scale(a) = 0 AND scale(b) = 0 THEN cutover.within(a + b)
    ELSE cutover.num(a::double precision + b::double precision) END;

CREATE OR REPLACE FUNCTION cutover.sub(a numeric, b numeric) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN scale(a) = 0 AND scale(b) = 0 THEN cutover.within(a - b)
    ELSE cutover.num(a::double precision - b::double precision) END;

CREATE OR REPLACE FUNCTION cutover.mul(a numeric, b numeric) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN scale(a) = 0 AND scale(b) = 0 THEN cutover.within(a * b)
    ELSE cutover.num(a::double precision * b::double precision) END;

CREATE OR REPLACE FUNCTION cutover.div(a numeric, b numeric) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN b = 0 THEN NULL
    WHEN scale(a) = 0 AND scale(b) = 0 THEN cutover.within(div(a, b))
    ELSE cutover.num(a::double precision / b::double precision) END;

CREATE OR REPLACE FUNCTION cutover.neg(x numeric) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN scale(x) = 0 THEN cutover.within(-x) ELSE -x END;

-- The rest of two integers; a real if one of the numbers that they come of is.
CREATE OR REPLACE FUNCTION cutover.mod(a numeric, b numeric, one bigint, two bigint) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN two = 0 THEN NULL WHEN scale(a) = 0 AND scale(b) = 0 THEN (one % two)::numeric
    ELSE cutover.num((one % two)::double precision) END;

CREATE OR REPLACE FUNCTION cutover.shift(a bigint, n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN n >= 64 THEN 0 WHEN n <= -64 THEN CASE WHEN a < 0 THEN -1 ELSE 0 END
    WHEN n >= 0 THEN a << n::integer ELSE a >> (-n)::integer END;

CREATE OR REPLACE FUNCTION cutover.unshift(a bigint, n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN cutover.shift(a, -greatest(n, -9223372036854775807));

CREATE OR REPLACE FUNCTION cutover.round(x double precision, digits bigint) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN abs(x) >= 4503599627370496 THEN x
    ELSE round(x::text::numeric, least(greatest(digits, 0), 30)::integer)::double precision END;

CREATE OR REPLACE FUNCTION cutover.sign(x numeric) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN sign(x)::bigint;

CREATE OR REPLACE FUNCTION cutover.sign(x double precision) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN sign(x)::bigint;

CREATE OR REPLACE FUNCTION cutover.random() RETURNS bigint LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN ('x' || translate(gen_random_uuid()::text, '-', ''))::bit(64)::bigint;

-- Text: positions count from 1, from the end if negative; a negative length takes what stands before.
CREATE OR REPLACE FUNCTION cutover.span(size bigint, start bigint, length bigint) RETURNS int8range
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN (
    WITH placed AS (SELECT CASE WHEN start < 0 THEN size + start ELSE start - (start > 0)::integer END AS at),
         ends AS (SELECT CASE WHEN length < 0 THEN at + length ELSE at - (start = 0)::integer END AS lower,
                         CASE WHEN length < 0 THEN at ELSE at + length - (start = 0)::integer END AS upper FROM placed)
    SELECT CASE WHEN greatest(lower, 0) < least(upper, size)
        THEN int8range(greatest(lower, 0), least(upper, size)) ELSE 'empty'::int8range END FROM ends
);

CREATE OR REPLACE FUNCTION cutover.substr(x text, start bigint, length bigint DEFAULT 2147483647) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN start > 0 AND length BETWEEN 0 AND 2147483647 AND start <= 1073741823
        THEN substr(x, start::integer, least(length, 1073741823)::integer)
    WHEN isempty(cutover.span(length(x)::bigint, start, length)) THEN ''
    ELSE substr(x, (lower(cutover.span(length(x)::bigint, start, length)) + 1)::integer,
        (upper(cutover.span(length(x)::bigint, start, length))
            - lower(cutover.span(length(x)::bigint, start, length)))::integer) END;

CREATE OR REPLACE FUNCTION cutover.substr(x bytea, start bigint, length bigint DEFAULT 2147483647) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x = ''::bytea THEN NULL
    WHEN isempty(cutover.span(octet_length(x)::bigint, start, length)) THEN ''::bytea
    ELSE substr(x, (lower(cutover.span(octet_length(x)::bigint, start, length)) + 1)::integer,
        (upper(cutover.span(octet_length(x)::bigint, start, length))
            - lower(cutover.span(octet_length(x)::bigint, start, length)))::integer) END;

CREATE OR REPLACE FUNCTION cutover.instr(x text, part text) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN strpos(x, part)::bigint;

CREATE OR REPLACE FUNCTION cutover.replace(x text, part text, other text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN replace(x, part, other);

CREATE OR REPLACE FUNCTION cutover.unicode(x text) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x <> '' THEN ascii(x)::bigint END;

CREATE OR REPLACE FUNCTION cutover.chr(VARIADIC codes bigint[]) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (SELECT coalesce(string_agg(
            CASE WHEN coalesce(code, 0) = 0
                    THEN cutover.misfit('a text with a NUL character is not possible on PostgreSQL', code::text)::text
                WHEN code BETWEEN 1 AND 1114111 THEN chr(code::integer) ELSE chr(65533) END,
            '' ORDER BY place), '')
        FROM unnest(codes) WITH ORDINALITY AS given(code, place));

CREATE OR REPLACE FUNCTION cutover.zeroblob(size bigint) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN decode(repeat('00', greatest(size, 0)::integer), 'hex');

CREATE OR REPLACE FUNCTION cutover.randomblob(size bigint) RETURNS bytea LANGUAGE sql VOLATILE PARALLEL SAFE STRICT
RETURN (SELECT decode(left(string_agg(translate(gen_random_uuid()::text, '-', ''), ''), (2 * greatest(size, 1))::integer), 'hex')
        FROM generate_series(1, (greatest(size, 1) + 15) / 16));

-- GLOB: case matters; *, ?, [set], [^set]. A set that is not closed matches nothing, and so does a range that runs backwards.
-- The pattern is made apart from the test, so that it is made once if it is constant.
CREATE OR REPLACE FUNCTION cutover.glob_set(inner_part text) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    inverted boolean := left(inner_part, 1) = '^';
    rest text := CASE WHEN left(inner_part, 1) = '^' THEN substr(inner_part, 2) ELSE inner_part END;
    found text[];
    members text := '';
    prior text := '';
BEGIN
    -- A hyphen between two characters makes a range; the end of one range does not begin another.
    WHILE rest <> '' LOOP
        IF left(rest, 1) = '-' AND length(rest) > 1 AND prior <> '' THEN
            found := ARRAY[prior, substr(rest, 2, 1)];
            IF found[1] COLLATE "C" <= found[2] COLLATE "C" THEN
                members := members || regexp_replace(found[1], '(\W)', '\\\1') || '-' || regexp_replace(found[2], '(\W)', '\\\1');
            END IF;
            rest := substr(rest, 3);
            prior := '';
        ELSE
            prior := left(rest, 1);
            members := members || regexp_replace(prior, '(\W)', '\\\1');
            rest := substr(rest, 2);
        END IF;
    END LOOP;
    RETURN CASE WHEN members <> '' THEN '[' || CASE WHEN inverted THEN '^' ELSE '' END || members || ']'
        WHEN inverted THEN '.' ELSE '(?!.*)' END;
END $$;

CREATE OR REPLACE FUNCTION cutover.glob_regex(pattern text) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    regex text := '(?s)^';
    part text;
BEGIN
    FOR part IN SELECT matched[1] FROM regexp_matches(pattern, '\[\^?\]?[^]]*\]|.', 'gs') AS matched LOOP
        IF part IN ('[', '[]', '[^]') THEN
            RETURN '(?!.*)';
        END IF;
        regex := regex || CASE
            WHEN part = '*' THEN '.*'
            WHEN part = '?' THEN '.'
            WHEN length(part) > 1 THEN cutover.glob_set(substr(part, 2, length(part) - 2))
            WHEN part ~ '\w' THEN part
            ELSE '\' || part
        END;
    END LOOP;
    RETURN regex || '$';
END $$;

CREATE OR REPLACE FUNCTION cutover.glob(pattern text, x text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN x COLLATE "C" ~ cutover.glob_regex(pattern);

CREATE OR REPLACE FUNCTION cutover.type_of(x numeric) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN x IS NULL THEN 'null' WHEN scale(x) = 0 THEN 'integer' ELSE 'real' END;

-- JSON. Text goes in; jsonb scalars or text come out. What catches errors cannot run in a parallel worker.
CREATE OR REPLACE FUNCTION cutover.json_text(x text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN regexp_replace(x, '("(?:[^"\\]|\\.)*")|\s+', '\1', 'g');

CREATE OR REPLACE FUNCTION cutover.json_path(path text) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN (SELECT coalesce(array_agg(coalesce(found[1], found[2], found[3], '-' || found[4], found[5]) ORDER BY place), '{}')
        FROM regexp_matches(CASE WHEN path LIKE '$%' THEN substr(path, 2) ELSE '."' || path || '"' END,
            '\."([^"]*)"|\.([^.\[]+)|\[(\d+)\]|\[#-(\d+)\]|(.)', 'g') WITH ORDINALITY AS matched(found, place));

CREATE OR REPLACE FUNCTION cutover.json_extract(x text, path text) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE PARALLEL UNSAFE STRICT
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found json;
BEGIN
    found := x::json #> cutover.json_path(path);
    RETURN CASE json_typeof(found)
        WHEN 'string' THEN found::jsonb
        WHEN 'number' THEN found::jsonb
        WHEN 'boolean' THEN CASE found::text WHEN 'true' THEN '1'::jsonb ELSE '0'::jsonb END
        WHEN 'object' THEN to_jsonb(cutover.json_text(found::text))
        WHEN 'array' THEN to_jsonb(cutover.json_text(found::text))
    END;
EXCEPTION WHEN invalid_text_representation THEN
    RAISE EXCEPTION 'malformed JSON' USING ERRCODE = '22032';
END $$;

CREATE OR REPLACE FUNCTION cutover.json_arrow(x text, path text) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL UNSAFE STRICT
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN cutover.json_text((x::json #> cutover.json_path(path))::text);
EXCEPTION WHEN invalid_text_representation THEN
    RAISE EXCEPTION 'malformed JSON' USING ERRCODE = '22032';
END $$;

CREATE OR REPLACE FUNCTION cutover.json_valid(x text) RETURNS bigint LANGUAGE plpgsql IMMUTABLE PARALLEL UNSAFE STRICT
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM x::json;
    RETURN 1;
EXCEPTION WHEN invalid_text_representation THEN
    RETURN 0;
END $$;

CREATE OR REPLACE FUNCTION cutover.json_array_length(x text) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE json_typeof(x::json) WHEN 'array' THEN json_array_length(x::json)::bigint ELSE 0 END;

-- Move a sequence past a key that was given, so that automatic keys do not meet it. Never moves it back, nor to its
-- end: one row with the highest key there is would leave no automatic key for the others.
CREATE OR REPLACE FUNCTION cutover.advance(sequence text, id bigint) RETURNS bigint LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF id > coalesce(pg_sequence_last_value(sequence::regclass), 0) AND EXISTS (
        SELECT FROM pg_sequence
        WHERE seqrelid = sequence::regclass AND seqincrement > 0 AND id <= seqmax - seqincrement)
    THEN
        PERFORM pg_advisory_xact_lock(hashtext('cutover.advance'), sequence::regclass::oid::integer);
        IF id > coalesce(pg_sequence_last_value(sequence::regclass), 0) THEN
            PERFORM setval(sequence::regclass, id);
        END IF;
    END IF;
    RETURN id;
END $$;
