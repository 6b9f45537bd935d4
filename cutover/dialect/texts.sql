-- Functions of texts and blobs.

-- As C makes an int of a number of 64 bits.
CREATE OR REPLACE FUNCTION cutover.low(x bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN ((x & 4294967295) # 2147483648) - 2147483648;

-- Text: positions count from 1, from the end if negative; a negative length takes what stands before.
CREATE OR REPLACE FUNCTION cutover.span(size bigint, start bigint, length bigint) RETURNS int8range
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN (
    WITH given AS (SELECT cutover.low(start) AS start, cutover.low(length) AS length),
         placed AS (SELECT start, length,
                           CASE WHEN start < 0 THEN size + start ELSE start - (start > 0)::integer END AS at FROM given),
         ends AS (SELECT CASE WHEN length < 0 THEN at + length ELSE at - (start = 0)::integer END AS lower,
                         CASE WHEN length < 0 THEN at ELSE at + length - (start = 0)::integer END AS upper FROM placed)
    SELECT CASE WHEN greatest(lower, 0) < least(upper, size)
        THEN int8range(greatest(lower, 0), least(upper, size)) ELSE 'empty'::int8range END FROM ends
);

CREATE OR REPLACE FUNCTION cutover.substr(x text, start bigint, length bigint DEFAULT 1000000000) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN start > 0 AND length BETWEEN 0 AND 2147483647 AND start <= 1073741823
        THEN substr(x, start::integer, least(length, 1073741823)::integer)
    WHEN isempty(cutover.span(length(x)::bigint, start, length)) THEN ''
    ELSE substr(x, (lower(cutover.span(length(x)::bigint, start, length)) + 1)::integer,
        (upper(cutover.span(length(x)::bigint, start, length))
            - lower(cutover.span(length(x)::bigint, start, length)))::integer) END;

CREATE OR REPLACE FUNCTION cutover.substr(x bytea, start bigint, length bigint DEFAULT 1000000000) RETURNS bytea
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

CREATE OR REPLACE FUNCTION cutover.too_complex(x text) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = '22032', MESSAGE = 'LIKE or GLOB pattern too complex';
END $$;

CREATE OR REPLACE FUNCTION cutover.pattern(x text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN octet_length(x) > 50000 THEN cutover.too_complex(x) ELSE x END;

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
