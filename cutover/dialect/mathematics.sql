-- Arithmetic, mathematical functions, and sum().

-- Values that may be integers or reals: with a real it is a computation of doubles, as SQLite's. Of integers it is exact; where
-- 64 bits do not hold it, SQLite computes once more, with doubles.
CREATE OR REPLACE FUNCTION cutover.held(x numeric) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN x BETWEEN -9223372036854775808 AND 9223372036854775807;

CREATE OR REPLACE FUNCTION cutover.within(x numeric) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN cutover.held(x) THEN x ELSE cutover.num(x::double precision) END;

CREATE OR REPLACE FUNCTION cutover.add(a numeric, b numeric) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN scale(a) = 0 AND scale(b) = 0 AND cutover.held(a + b) THEN a + b
    ELSE cutover.num(cutover.real(a) + cutover.real(b)) END;

CREATE OR REPLACE FUNCTION cutover.sub(a numeric, b numeric) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN scale(a) = 0 AND scale(b) = 0 AND cutover.held(a - b) THEN a - b
    ELSE cutover.num(cutover.real(a) - cutover.real(b)) END;

CREATE OR REPLACE FUNCTION cutover.mul(a numeric, b numeric) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN scale(a) = 0 AND scale(b) = 0 AND cutover.held(a * b) THEN a * b
    ELSE cutover.num(cutover.real(a) * cutover.real(b)) END;

CREATE OR REPLACE FUNCTION cutover.div(a numeric, b numeric) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN b = 0 THEN NULL
    WHEN scale(a) = 0 AND scale(b) = 0 THEN cutover.within(div(a, b))
    ELSE cutover.num(cutover.real(a) / cutover.real(b)) END;

CREATE OR REPLACE FUNCTION cutover.neg(x numeric) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN scale(x) = 0 THEN cutover.within(-x) WHEN x = 0 THEN 0.0 ELSE -x END;

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
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    places integer := least(greatest(cutover.low(digits), 0), 30)::integer;
BEGIN
    IF abs(x) > 4503599627370496 THEN
        RETURN x;
    ELSIF places = 0 THEN -- what becomes 0 is not negative
        RETURN trunc(x + CASE WHEN x < 0 THEN -0.5 ELSE 0.5 END) + 0;
    END IF;
    RETURN cutover.rounded(x, places); -- here it stays so
END $$;

CREATE OR REPLACE FUNCTION cutover.sign(x numeric) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN sign(x)::bigint;

CREATE OR REPLACE FUNCTION cutover.sign(x double precision) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN sign(x)::bigint;

CREATE OR REPLACE FUNCTION cutover.random() RETURNS bigint LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN ('x' || translate(gen_random_uuid()::text, '-', ''))::bit(64)::bigint;

-- Mathematical functions: NULL where SQLite has no answer, and Infinity where Postgres would complain of one.

-- A value as these functions take it: a number, or a text that is one; NULL for anything else.
CREATE OR REPLACE FUNCTION cutover.aff(x jsonb) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE jsonb_typeof(x) WHEN 'number' THEN (x #>> '{}')::numeric WHEN 'string' THEN cutover.aff(x #>> '{}') END;

CREATE OR REPLACE FUNCTION cutover.overflow(x numeric) RETURNS bigint LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RAISE EXCEPTION 'integer overflow' USING ERRCODE = '22003';
END $$;

CREATE OR REPLACE FUNCTION cutover.abs(x bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x = -9223372036854775808 THEN cutover.overflow(x) ELSE abs(x) END;

-- -0.0 stays as it is: it is not less than 0.
CREATE OR REPLACE FUNCTION cutover.abs(x double precision) RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x < 0 THEN -x ELSE x END;

CREATE OR REPLACE FUNCTION cutover.abs(x numeric) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x = -9223372036854775808 AND scale(x) = 0 THEN cutover.overflow(x)::numeric ELSE abs(x) END;

CREATE OR REPLACE FUNCTION cutover.abs(x jsonb) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE jsonb_typeof(x) WHEN 'number' THEN cutover.abs(cutover.tonum(x))
    ELSE cutover.num(abs(cutover.tonum(x)::double precision)) END;

CREATE OR REPLACE FUNCTION cutover.ceil(x numeric) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN scale(x) = 0 THEN x ELSE cutover.num(ceil(x)::double precision) END;

CREATE OR REPLACE FUNCTION cutover.floor(x numeric) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN scale(x) = 0 THEN x ELSE cutover.num(floor(x)::double precision) END;

CREATE OR REPLACE FUNCTION cutover.trunc(x numeric) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN scale(x) = 0 THEN x ELSE cutover.num(trunc(x)::double precision) END;

CREATE OR REPLACE FUNCTION cutover.acos(x double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN abs(x) <= 1 THEN acos(x) END;

CREATE OR REPLACE FUNCTION cutover.asin(x double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN abs(x) <= 1 THEN asin(x) END;

CREATE OR REPLACE FUNCTION cutover.acosh(x double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x >= 1 THEN acosh(x) END;

CREATE OR REPLACE FUNCTION cutover.atanh(x double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN abs(x) <= 1 THEN atanh(x) END;

CREATE OR REPLACE FUNCTION cutover.sqrt(x double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x >= 0 THEN sqrt(x) END;

CREATE OR REPLACE FUNCTION cutover.ln(x double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x > 0 THEN ln(x) END;

-- By way of the natural logarithm, as SQLite does: log(1000) is a little less than 3.
CREATE OR REPLACE FUNCTION cutover.log(x double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x > 0 THEN ln(x) / 2.302585092994045684::double precision END;

CREATE OR REPLACE FUNCTION cutover.log2(x double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x > 0 THEN ln(x) / 0.693147180559945309::double precision END;

CREATE OR REPLACE FUNCTION cutover.log(base double precision, x double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN base > 1 AND x > 0 THEN ln(x) / ln(base) END;

CREATE OR REPLACE FUNCTION cutover.exp(x double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x > 709.782712893384 THEN 'Infinity' WHEN x < -745.2 THEN 0 ELSE exp(x) END;

CREATE OR REPLACE FUNCTION cutover.pow(x double precision, y double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE
    WHEN x = 0 AND y < 0 THEN 'Infinity'
    WHEN x < 0 AND y <> trunc(y) THEN NULL
    WHEN x = 0 OR y = 0 OR abs(x) = 'Infinity' THEN power(x, y)
    WHEN y * ln(abs(x)) > 709.782712893384 THEN
        CASE WHEN x < 0 AND mod(y::numeric, 2) <> 0 THEN '-Infinity' ELSE 'Infinity' END::double precision
    WHEN y * ln(abs(x)) < -745.2 THEN 0
    ELSE power(x, y)
END;

-- All the digits that a double has.
CREATE OR REPLACE FUNCTION cutover.exact(x double precision) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN (
    WITH bits AS (SELECT ('x' || encode(float8send(x), 'hex'))::bit(64)::bigint AS all_of),
        parts AS (SELECT ((all_of >> 52) & 2047)::integer AS exponent, all_of & 4503599627370495 AS fraction FROM bits),
        scaled AS (SELECT fraction + CASE WHEN exponent > 0 THEN 4503599627370496 ELSE 0 END AS mantissa,
            greatest(exponent, 1) - 1075 AS shift FROM parts)
    SELECT sign(x)::numeric * mantissa * CASE WHEN shift >= 0 THEN trunc(2::numeric ^ shift)
        ELSE trunc(5::numeric ^ -shift) * ('1e' || shift)::numeric END FROM scaled
);

-- The rest of a division of reals. It is exact, as C's is.
CREATE OR REPLACE FUNCTION cutover.fmod(x double precision, y double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN y = 0 OR abs(x) = 'Infinity' THEN NULL WHEN abs(x) < abs(y) THEN x
    WHEN x = trunc(x) AND y = trunc(y) AND abs(x) < 9007199254740992 THEN (x::bigint % y::bigint)::double precision
    ELSE mod(cutover.exact(x), cutover.exact(y))::double precision END;

-- sum(): exact while all are integers, of doubles from the first real on.
CREATE OR REPLACE FUNCTION cutover.summand(x text) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN coalesce(cutover.aff(x), cutover.num(cutover.tonum(x)::double precision));

CREATE OR REPLACE FUNCTION cutover.summand(x bytea) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN cutover.num(cutover.tonum(x)::double precision);

CREATE OR REPLACE FUNCTION cutover.summand(x jsonb) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE jsonb_typeof(x) WHEN 'number' THEN (x #>> '{}')::numeric
    WHEN 'object' THEN cutover.summand(cutover.plain_blob(x)) ELSE cutover.summand(x #>> '{}') END;

-- Not STRICT, so that it becomes part of the query: a numeric without decimals that 64 bits do not hold is a real.
CREATE OR REPLACE FUNCTION cutover.summand(x numeric) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN scale(x) = 0 THEN cutover.within(x) ELSE x END;

CREATE OR REPLACE FUNCTION cutover.int_sum(x numeric) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x BETWEEN -9223372036854775808 AND 9223372036854775807 THEN x::bigint ELSE cutover.overflow(x) END;

-- Of integers alone. It fails where 64 bits do not hold what was added so far, in whatever order Postgres reads.
CREATE OR REPLACE AGGREGATE cutover.sum_ints(x bigint) (
    SFUNC = int8pl, STYPE = bigint, COMBINEFUNC = int8pl, PARALLEL = SAFE
);

-- Such sums as reals, and fails (by what 64 bits do not hold) if SQLite may have rounded on the way: `high`, the sum
-- of their absolute values, is past 2^53.
CREATE OR REPLACE FUNCTION cutover.total_of_ints(total bigint, high bigint) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN high > 9007199254740992 THEN 9223372036854775807 + high ELSE coalesce(total, 0) END::double precision;

CREATE OR REPLACE FUNCTION cutover.avg_of_ints(total bigint, high bigint, many bigint) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN many > 0 THEN cutover.total_of_ints(total, high) / many END;

CREATE OR REPLACE FUNCTION cutover.sum_add(a numeric, b numeric) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN scale(a) = 0 AND scale(b) = 0 THEN
        CASE WHEN a + b BETWEEN -9223372036854775808 AND 9223372036854775807 THEN a + b ELSE cutover.overflow(a)::numeric END
    ELSE cutover.num(a::double precision + b::double precision) END;

CREATE OR REPLACE FUNCTION cutover.sum_end(x numeric) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN scale(x) = 0 THEN cutover.int_sum(x)::numeric WHEN x = 0 THEN 0.0 ELSE x END;

CREATE OR REPLACE AGGREGATE cutover.sum_of(x numeric) (
    SFUNC = cutover.sum_add, STYPE = numeric, FINALFUNC = cutover.sum_end, PARALLEL = SAFE
);

-- A sum in a frame that slides: what leaves it is taken back, as SQLite does.
CREATE OR REPLACE AGGREGATE cutover.slid(x double precision) (
    SFUNC = float8pl, STYPE = double precision, INITCOND = '0',
    MSFUNC = float8pl, MINVFUNC = float8mi, MSTYPE = double precision, MINITCOND = '0', PARALLEL = SAFE
);

-- Of equal values the first, in the order in which they come.
CREATE OR REPLACE FUNCTION cutover.firsts(x anyarray) RETURNS anyarray LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
SET search_path = pg_catalog, pg_temp AS $$
    SELECT ARRAY(SELECT (array_agg(one ORDER BY place))[1] FROM unnest(x) WITH ORDINALITY AS all_of (one, place)
        WHERE one IS NOT NULL GROUP BY one ORDER BY min(place))
$$;

-- DISTINCT goes by the values, not by the numbers that they are: '1' and '1.0' make 2.
CREATE OR REPLACE FUNCTION cutover.summands(x text[]) RETURNS numeric[] LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN ARRAY(SELECT cutover.summand(one) FROM unnest(x) AS one);

CREATE OR REPLACE FUNCTION cutover.summands(x bytea[]) RETURNS numeric[] LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN ARRAY(SELECT cutover.summand(one) FROM unnest(x) AS one);

CREATE OR REPLACE FUNCTION cutover.summands(x jsonb[]) RETURNS numeric[] LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN ARRAY(SELECT cutover.summand(one) FROM unnest(x) AS one);

CREATE OR REPLACE FUNCTION cutover.summands(x numeric[]) RETURNS numeric[] LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN ARRAY(SELECT cutover.summand(one) FROM unnest(x) AS one);

CREATE OR REPLACE FUNCTION cutover.summands(x bigint[]) RETURNS numeric[] LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN x::numeric[];

CREATE OR REPLACE FUNCTION cutover.summands(x double precision[]) RETURNS double precision[] LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN x;

CREATE OR REPLACE FUNCTION cutover.sum_each(x double precision[]) RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (SELECT sum(one) + 0 FROM unnest(x) AS one);

CREATE OR REPLACE FUNCTION cutover.avg_each(x double precision[]) RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (SELECT sum(one) / count(*) FROM unnest(x) AS one);

CREATE OR REPLACE FUNCTION cutover.total_each(x double precision[]) RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (SELECT coalesce(sum(one), 0) + 0 FROM unnest(x) AS one);

CREATE OR REPLACE FUNCTION cutover.sum_each(x numeric[]) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (SELECT cutover.sum_of(one) FROM unnest(x) AS one);

CREATE OR REPLACE FUNCTION cutover.avg_each(x numeric[]) RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (SELECT avg(one::double precision) FROM unnest(x) AS one);

CREATE OR REPLACE FUNCTION cutover.total_each(x numeric[]) RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (SELECT coalesce(sum(one::double precision), 0) FROM unnest(x) AS one);

-- How many rows lag() and lead() look away, computed from a row.
CREATE OR REPLACE FUNCTION cutover.offset_of(x bigint, lowest integer) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN x >= lowest THEN least(x, 2147483647)::integer
    ELSE cutover.misfit('an offset of lag or lead below its lowest is not possible on PostgreSQL', x::text)::integer END;

CREATE OR REPLACE FUNCTION cutover.offset_of(x double precision, lowest integer) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x = trunc(x) THEN cutover.offset_of(x::bigint, lowest)
    ELSE cutover.misfit('an offset of lag or lead that is no integer is not possible on PostgreSQL', x::text)::integer END;

-- min() and max() of numbers of which an integer and a real may be equal: the first stays.
CREATE OR REPLACE FUNCTION cutover.first_lesser(a numeric, b numeric) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN b < a THEN b ELSE a END;

CREATE OR REPLACE FUNCTION cutover.first_greater(a numeric, b numeric) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN b > a THEN b ELSE a END;

CREATE OR REPLACE AGGREGATE cutover.first_min(x numeric) (SFUNC = cutover.first_lesser, STYPE = numeric, PARALLEL = SAFE);
CREATE OR REPLACE AGGREGATE cutover.first_max(x numeric) (SFUNC = cutover.first_greater, STYPE = numeric, PARALLEL = SAFE);

CREATE OR REPLACE FUNCTION cutover.last_lesser(a numeric, b numeric) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN b <= a THEN b ELSE a END;

CREATE OR REPLACE FUNCTION cutover.last_greater(a numeric, b numeric) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN b >= a THEN b ELSE a END;

CREATE OR REPLACE AGGREGATE cutover.last_min(x numeric) (SFUNC = cutover.last_lesser, STYPE = numeric, PARALLEL = SAFE);
CREATE OR REPLACE AGGREGATE cutover.last_max(x numeric) (SFUNC = cutover.last_greater, STYPE = numeric, PARALLEL = SAFE);

-- The same of reals, of which 0.0 and -0.0 are equal.
CREATE OR REPLACE FUNCTION cutover.first_lesser(a double precision, b double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT RETURN CASE WHEN b < a THEN b ELSE a END;

CREATE OR REPLACE FUNCTION cutover.first_greater(a double precision, b double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT RETURN CASE WHEN b > a THEN b ELSE a END;

CREATE OR REPLACE FUNCTION cutover.last_lesser(a double precision, b double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT RETURN CASE WHEN b <= a THEN b ELSE a END;

CREATE OR REPLACE FUNCTION cutover.last_greater(a double precision, b double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT RETURN CASE WHEN b >= a THEN b ELSE a END;

CREATE OR REPLACE AGGREGATE cutover.first_min(x double precision) (
    SFUNC = cutover.first_lesser, STYPE = double precision, PARALLEL = SAFE
);
CREATE OR REPLACE AGGREGATE cutover.first_max(x double precision) (
    SFUNC = cutover.first_greater, STYPE = double precision, PARALLEL = SAFE
);
CREATE OR REPLACE AGGREGATE cutover.last_min(x double precision) (
    SFUNC = cutover.last_lesser, STYPE = double precision, PARALLEL = SAFE
);
CREATE OR REPLACE AGGREGATE cutover.last_max(x double precision) (
    SFUNC = cutover.last_greater, STYPE = double precision, PARALLEL = SAFE
);

-- A real that is no zero; what is one fails by an overflow, behind which the statement runs in another way.
CREATE OR REPLACE FUNCTION cutover.no_zero(x double precision) RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN x = 0 THEN (x + 1e308) * 1e308 ELSE x END;

-- Offsets of a window's frame: `which` is SQLite's word for the end that is wrong.
CREATE OR REPLACE FUNCTION cutover.frame_offset(x numeric, which text) RETURNS bigint
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF x IS NULL OR x < 0 OR x <> trunc(x) THEN
        RAISE EXCEPTION 'frame % offset must be a non-negative integer', which USING ERRCODE = '22032';
    END IF;
    RETURN x;
END $$;

-- What RANGE goes by where values may be of any storage class: as doubles, in which sums of integers and reals are SQLite's.
CREATE OR REPLACE FUNCTION cutover.ranged(x bigint) RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x BETWEEN -4503599627370496 AND 4503599627370496 THEN x
    ELSE cutover.misfit('an integer this large that RANGE goes by beside reals is not possible on PostgreSQL', x::text) END;

CREATE OR REPLACE FUNCTION cutover.ranged(x jsonb) RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN jsonb_typeof(x) <> 'number'
    THEN cutover.misfit('a text or a blob that RANGE with an offset goes by is not possible on PostgreSQL', x::text)
    WHEN scale(x::numeric) > 0 THEN x::double precision ELSE cutover.ranged(x::bigint) END;

-- Not before there is a row: SQLite does not look at them earlier.
CREATE OR REPLACE FUNCTION cutover.nth_strict(x numeric) RETURNS integer LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    IF x IS NULL OR x < 1 OR x <> trunc(x) THEN
        RAISE EXCEPTION 'second argument to nth_value must be a positive integer' USING ERRCODE = '22032';
    END IF;
    RETURN least(x, 2147483647);
END $$;

CREATE OR REPLACE FUNCTION cutover.ntile_strict(x bigint) RETURNS integer LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    IF x IS NULL OR x < 1 THEN
        RAISE EXCEPTION 'argument of ntile must be a positive integer' USING ERRCODE = '22032';
    END IF;
    RETURN least(x, 2147483647);
END $$;

CREATE OR REPLACE FUNCTION cutover.frame_distance(x anyelement, which text) RETURNS anyelement
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF x IS NULL OR x < 0 THEN
        RAISE EXCEPTION 'frame % offset must be a non-negative number', which USING ERRCODE = '22032';
    END IF;
    RETURN x;
END $$;

-- A value of any storage class on its way into a NUMERIC column.
CREATE OR REPLACE FUNCTION cutover.number_strict(x jsonb) RETURNS numeric LANGUAGE sql STABLE PARALLEL SAFE STRICT
RETURN CASE WHEN jsonb_typeof(x) <> 'object' AND cutover.aff(x) IS NOT NULL THEN cutover.whole(cutover.aff(x))
    ELSE cutover.misfit('a blob in a column of numbers, or a text, cannot be stored on PostgreSQL', x::text)::numeric END;
