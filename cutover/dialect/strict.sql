-- Values on their way into columns. They are STABLE, so that no plan computes them for rows that turn out not to be there.

-- What a column can hold, or an error: nothing is rounded silently.
-- Of reals, SQLite makes integers of those that are whole and nearer to zero than the ends of 64 bits.
CREATE OR REPLACE FUNCTION cutover.int_strict(x numeric) RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x = trunc(x) AND (scale(x) = 0 OR abs(x) < 9223372036854775807) THEN x::bigint
    ELSE cutover.misfit('a real in a column of integers cannot be stored on PostgreSQL', x::text) END;

CREATE OR REPLACE FUNCTION cutover.int_strict(x double precision) RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x = trunc(x) AND abs(x) < 9223372036854775808 THEN x::bigint
    ELSE cutover.misfit('a real in a column of integers cannot be stored on PostgreSQL', x::text) END;

CREATE OR REPLACE FUNCTION cutover.int_strict(x text) RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE STRICT
RETURN CASE WHEN cutover.aff(x) IS NULL
    THEN cutover.misfit('a text in a column of integers cannot be stored on PostgreSQL', x)
    ELSE cutover.int_strict(cutover.aff(x)) END;

CREATE OR REPLACE FUNCTION cutover.number_strict(x text) RETURNS numeric LANGUAGE sql STABLE PARALLEL SAFE STRICT
RETURN CASE WHEN cutover.aff(x) IS NOT NULL THEN cutover.aff(x)
    ELSE cutover.misfit('a text in a column of numbers cannot be stored on PostgreSQL', x) END;

-- A value for an INTEGER PRIMARY KEY: SQLite itself takes nothing but integers there. An integer has no decimals, and a
-- real that is whole counts as one if it is not beyond what it can tell apart from the next.
CREATE OR REPLACE FUNCTION cutover.key_strict(x numeric) RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE STRICT
RETURN CASE WHEN scale(x) = 0 AND x BETWEEN -9223372036854775808 AND 9223372036854775807 THEN x::bigint
    WHEN x = trunc(x) AND abs(x) < 9223372036854775807 THEN x::bigint
    ELSE cutover.misfit('datatype mismatch', x::text) END;

CREATE OR REPLACE FUNCTION cutover.key_strict(x double precision) RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x = trunc(x) AND abs(x) < 9223372036854775807 THEN x::bigint
    ELSE cutover.misfit('datatype mismatch', x::text) END;

CREATE OR REPLACE FUNCTION cutover.key_strict(x text) RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE STRICT
RETURN CASE WHEN cutover.aff(x) IS NOT NULL THEN cutover.key_strict(cutover.aff(x))
    ELSE cutover.misfit('datatype mismatch', x) END;

CREATE OR REPLACE FUNCTION cutover.key_strict(x bytea) RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE STRICT
RETURN cutover.misfit('datatype mismatch', x::text);

CREATE OR REPLACE FUNCTION cutover.real_strict(x numeric) RETURNS double precision
LANGUAGE sql STABLE PARALLEL SAFE STRICT
RETURN x::double precision;

-- Where SQLite would keep the integer: one that no real is would be another value.
CREATE OR REPLACE FUNCTION cutover.whole_strict(x bigint) RETURNS double precision
LANGUAGE sql STABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x BETWEEN -9007199254740992 AND 9007199254740992 THEN x::double precision
    WHEN x BETWEEN -9223372036854774784 AND 9223372036854774784 AND x::double precision::bigint = x
        THEN x::double precision
    ELSE cutover.misfit('an integer in a column of reals cannot be stored on PostgreSQL', x::text)::double precision END;

CREATE OR REPLACE FUNCTION cutover.real_strict(x text) RETURNS double precision
LANGUAGE sql STABLE PARALLEL SAFE STRICT
RETURN CASE WHEN cutover.aff(x) IS NOT NULL THEN cutover.aff(x)::double precision
    ELSE cutover.misfit('a text in a column of reals cannot be stored on PostgreSQL', x::text) END;

-- SQLite makes a number of a text that is spelled as one where the column's affinity is numeric.
CREATE OR REPLACE FUNCTION cutover.text_strict(x text) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE STRICT
RETURN CASE WHEN cutover.aff(x) IS NULL THEN x
    ELSE cutover.misfit('a number in a column of text cannot be stored on PostgreSQL', x)::text END;

CREATE OR REPLACE FUNCTION cutover.bool_strict(x numeric) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x IN (0, 1) THEN x = 1
    ELSE cutover.misfit('a number other than 0 and 1 cannot be stored in a boolean column', x::text) = 0 END;

CREATE OR REPLACE FUNCTION cutover.bool_strict(x bigint) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE STRICT
RETURN cutover.bool_strict(x::numeric);

CREATE OR REPLACE FUNCTION cutover.bool_strict(x double precision) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x IN (0, 1) THEN x = 1
    ELSE cutover.misfit('a number other than 0 and 1 cannot be stored in a boolean column', x::text) = 0 END;

CREATE OR REPLACE FUNCTION cutover.bool_strict(x text) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE STRICT
RETURN cutover.bool_strict(cutover.int_strict(x)::numeric);

-- A boolean that is one of two words on SQLite.
CREATE OR REPLACE FUNCTION cutover.word_strict(x text, no text, yes text) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x IN (no, yes) THEN x = yes
    ELSE cutover.misfit('a text that is none of the words of a boolean column cannot be stored on PostgreSQL', x) = 0 END;

CREATE OR REPLACE FUNCTION cutover.numeric_strict(x numeric, places integer) RETURNS numeric
LANGUAGE sql STABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x = round(x, places) THEN x
    ELSE cutover.misfit('a number with more decimals than its column has cannot be stored on PostgreSQL', x::text)::numeric END;

-- Points in time as text, without an offset or in UTC, and with no more decimals than the column has.
CREATE OR REPLACE FUNCTION cutover.timestamp_strict(x text, places integer) RETURNS timestamp
LANGUAGE plpgsql STABLE PARALLEL SAFE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF x ~ ('^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,' || greatest(places, 1) || '})?)?)?(Z|\+00:00)?$')
        AND (places > 0 OR position('.' in x) = 0)
    THEN
        RETURN regexp_replace(x, '(Z|\+00:00)$', '')::timestamp;
    END IF;
    RAISE EXCEPTION 'a text that is no point in time in UTC cannot be stored on PostgreSQL' USING ERRCODE = '22P02';
END $$;

CREATE OR REPLACE FUNCTION cutover.timestamptz_strict(x text, places integer) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE STRICT RETURN cutover.timestamp_strict(x, places) AT TIME ZONE 'UTC';

CREATE OR REPLACE FUNCTION cutover.date_strict(x text, places integer) RETURNS date
LANGUAGE sql STABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x ~ '^\d{4}-\d\d-\d\d$' THEN cutover.timestamp_strict(x, places)::date
    WHEN cutover.misfit('a text that is no day cannot be stored on PostgreSQL', x::text) = 0 THEN NULL END;

CREATE OR REPLACE FUNCTION cutover.time_strict(x text, places integer) RETURNS time
LANGUAGE plpgsql STABLE PARALLEL SAFE STRICT SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF x ~ '^\d\d:\d\d(:\d\d(\.\d{1,6})?)?$' AND length(rtrim(substr(x, 10), '0')) <= places THEN
        RETURN x::time;
    END IF;
    RAISE EXCEPTION 'a text that is no time of day cannot be stored on PostgreSQL' USING ERRCODE = '22P02';
END $$;

-- Points in time that are counted from 1970, in units of so many microseconds.
CREATE OR REPLACE FUNCTION cutover.counted_strict(x bigint, unit bigint) RETURNS timestamp
LANGUAGE sql STABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x::numeric * unit >= -62135596800000000 AND x::numeric * unit < 253402300800000000
    THEN timestamp '1970-01-01' + x * unit / 1000000 * interval '1 second' + x * unit % 1000000 * interval '1 microsecond'
    WHEN cutover.misfit('a point in time outside of the years 1 to 9999 cannot be stored on PostgreSQL', x::text) = 0 THEN NULL END;

CREATE OR REPLACE FUNCTION cutover.uuid_strict(x text) RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x ~* '^([0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$' THEN x::uuid
    WHEN cutover.misfit('a text that is no UUID cannot be stored on PostgreSQL', x) = 0 THEN NULL END;

CREATE OR REPLACE FUNCTION cutover.single_strict(x double precision) RETURNS real LANGUAGE sql STABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x IN (x::real::double precision, x::real::text::double precision) THEN x::real
    ELSE cutover.misfit('a real with more digits than its column has cannot be stored on PostgreSQL', x::text)::real END;

CREATE OR REPLACE FUNCTION cutover.char_strict(x text, places integer) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE STRICT
RETURN CASE WHEN length(x) <= places AND x NOT LIKE '% ' THEN x
    ELSE cutover.misfit('a text that its column would not keep as it is cannot be stored on PostgreSQL', x)::text END;

-- UPDATE ... FROM, where several rows would change one in different ways.
CREATE OR REPLACE FUNCTION cutover.one_way(ways bigint) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN ways = 1 OR cutover.misfit('UPDATE of a row by several rows of FROM is not possible on PostgreSQL', ways::text) = 0;

-- A group whose key is 1 in one row and 1.0 in another, beside several min() and max(), which make SQLite show one of them.
CREATE OR REPLACE FUNCTION cutover.one_spelling(spellings bigint) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN spellings <= 1 OR cutover.misfit('a choice among equal values of a group is not possible on PostgreSQL', spellings::text) = 0;

-- What LIMIT and OFFSET are given: a whole number, or a text that is spelled as one. STABLE as those above.
CREATE OR REPLACE FUNCTION cutover.bound(x numeric) RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE WHEN x BETWEEN -9223372036854775808 AND 9223372036854775807 AND x = trunc(x) THEN x::bigint
    ELSE cutover.misfit('datatype mismatch', x::text) END;

CREATE OR REPLACE FUNCTION cutover.bound(x double precision) RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE
RETURN cutover.bound(CASE WHEN abs(x) < 9223372036854775808 THEN x::numeric END);

CREATE OR REPLACE FUNCTION cutover.bound(x text) RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE
RETURN cutover.bound(cutover.aff(x));

CREATE OR REPLACE FUNCTION cutover.bound(x bytea) RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE
RETURN cutover.bound(NULL::numeric);

CREATE OR REPLACE FUNCTION cutover.bound(x jsonb) RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE
RETURN cutover.bound(CASE jsonb_typeof(x) WHEN 'number' THEN (x #>> '{}')::numeric WHEN 'string' THEN cutover.aff(x #>> '{}') END);
