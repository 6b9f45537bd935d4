-- Functions with SQLite's results, for translated statements. All in schema cutover, all idempotent.
-- SQL bodies are bound when they are created, so that no search_path can change what they mean.

-- Raise an error from inside an expression. 22P02: the value does not fit the column's type. It is given the culprit
-- so that no plan for any arguments takes it for a constant, and raises the error before there is a value.
CREATE OR REPLACE FUNCTION cutover.misfit(message text, culprit text) RETURNS bigint LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RAISE EXCEPTION '%', message USING ERRCODE = '22P02';
END $$;

-- A row that LIMIT cuts off, or takes, by chance. It is given the row's number so that it is called for a row alone.
CREATE OR REPLACE FUNCTION cutover.cuts_ties(at bigint) RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'CUT01', MESSAGE = 'LIMIT cuts between rows that are in ties';
END $$;

-- The value at this place, unless another of those whose row is as much the extreme is not the same: only SQLite knows
-- which of these rows is the first.
CREATE OR REPLACE FUNCTION cutover.only(given anyarray, extremes text[], place bigint) RETURNS anyelement
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (
        SELECT FROM unnest(given, extremes) AS one (value, extreme)
        WHERE extreme IS NOT DISTINCT FROM extremes[place] AND value::text IS DISTINCT FROM given[place]::text
    ) THEN
        RAISE EXCEPTION USING ERRCODE = 'CUT02', MESSAGE = 'the rows of a group differ';
    END IF;
    RETURN given[place];
END $$;

-- Rows of a window in their order: `told`, what is certain of it, may not be equal where the rest of a row is not.
CREATE OR REPLACE FUNCTION cutover.told_next(before jsonb, told jsonb, rest text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF before -> 0 = told AND before ->> 1 <> rest THEN
        RAISE EXCEPTION USING ERRCODE = 'CUT03', MESSAGE = 'a window goes by the order of rows that are in ties';
    END IF;
    RETURN jsonb_build_array(told, rest);
END $$;
CREATE OR REPLACE AGGREGATE cutover.told(told jsonb, rest text) (SFUNC = cutover.told_next, STYPE = jsonb, PARALLEL = SAFE);

-- A real as SQLite prints it: 15 digits, always with a decimal point.
CREATE OR REPLACE FUNCTION cutover.txt(x double precision) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    digits text;
    written text;
    mantissa text;
    exponent integer;
BEGIN
    IF x = 'Infinity' THEN RETURN 'Inf'; ELSIF x = '-Infinity' THEN RETURN '-Inf'; ELSIF x = 0 THEN RETURN '0.0'; END IF;
    digits := ltrim(translate(split_part(x::text, 'e', 1), '-.', ''), '0');
    IF length(digits) > 15 AND (abs(x) > 1e27 OR substr(digits, 16) IN ('5', '49', '50', '51')) THEN
        -- Near the middle between two texts SQLite's way of computing tells which it is.
        RETURN cutover.real_format(x, 'g', 14, cutover.rounder(14), false, true, '', 0, false);
    END IF;
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
RETURN CASE WHEN scale(x) = 0 AND x BETWEEN -9223372036854775808 AND 9223372036854775807 THEN x::text
    ELSE cutover.txt(x::double precision) END;

-- An integer or a real as a numeric whose scale still tells which it was.
CREATE OR REPLACE FUNCTION cutover.num(x bigint) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN x::numeric;

-- A real's shortest decimal. Numerics have no -0.0: it is a zero with more decimals than any real has.
CREATE OR REPLACE FUNCTION cutover.shortest(x double precision) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x::text = '-0' THEN '0e-340'::numeric WHEN scale(x::text::numeric) = 0 THEN x::text::numeric + 0.0
    ELSE x::text::numeric END;

CREATE OR REPLACE FUNCTION cutover.real(x numeric) RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x = 0 AND scale(x) = 340 THEN '-0'::double precision ELSE x::double precision END;

-- Among integers its exact value counts, which beyond 2^53 is another.
CREATE OR REPLACE FUNCTION cutover.num(x double precision) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN abs(x) >= 9007199254740992 AND x >= -9223372036854775808 AND x < 9223372036854775808
    THEN x::bigint::numeric + 0.0 ELSE cutover.shortest(x) END;

-- The integer that equals a real, NULL where none does.
CREATE OR REPLACE FUNCTION cutover.int_of(x double precision) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x = trunc(x) AND x >= -9223372036854775808 AND x < 9223372036854775808 THEN x::bigint END;

CREATE OR REPLACE FUNCTION cutover.num(x numeric) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT RETURN x;

-- The numeric prefix of a text, 0 without one.
CREATE OR REPLACE FUNCTION cutover.tonum(x text) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE
    WHEN x ~ '^\s*[+-]?\d{1,18}(?!\d|\.|[eE][+-]?\d)' THEN (substring(x from '^\s*([+-]?\d+)'))::numeric
    WHEN x ~ '^\s*[+-]?\d+(?!\d|\.|[eE][+-]?\d)'
        AND (substring(x from '^\s*([+-]?\d+)'))::numeric BETWEEN -9223372036854775808 AND 9223372036854775807
        THEN (substring(x from '^\s*([+-]?\d+)'))::numeric
    WHEN x ~ '^\s*[+-]?(\d+\.?\d*|\.\d+)' THEN
        cutover.num(substring(x from '^\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)')::double precision)
    ELSE 0::numeric
END;

CREATE OR REPLACE FUNCTION cutover.toreal(x text) RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x ~ '^\s*-' AND cutover.tonum(x) = 0 THEN '-0'::double precision ELSE cutover.tonum(x)::double precision END;

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

-- The first text that is not before x (`after`: that is after it) in a column where texts that are numbers are such and
-- stand before all texts. There is no text between x and x with the next character behind it (`below.py`).
CREATE OR REPLACE FUNCTION cutover.first_text(x text, after boolean, trimmed boolean) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x ~ '^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$' THEN ''
    WHEN NOT after THEN x
    ELSE CASE WHEN trimmed THEN rtrim(x, ' ') ELSE x END || chr(1) END;

CREATE OR REPLACE FUNCTION cutover.aff_int(x text) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN cutover.aff(x) = trunc(cutover.aff(x))
    AND cutover.aff(x) BETWEEN -9223372036854775808 AND 9223372036854775807 THEN cutover.aff(x)::bigint END;

CREATE OR REPLACE FUNCTION cutover.type_of(x numeric) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN x IS NULL THEN 'null'
    WHEN scale(x) = 0 AND x BETWEEN -9223372036854775808 AND 9223372036854775807 THEN 'integer' ELSE 'real' END;

-- A real of a row that was just written, as RETURNING gives it: an integer, if that is how SQLite keeps it in its file.
CREATE OR REPLACE FUNCTION cutover.as_kept(x double precision) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x = trunc(x) AND x BETWEEN -140737488355328 AND 140737488355327 THEN trunc(x)::bigint::numeric ELSE cutover.num(x) END;

-- A write to sqlite_sequence: the sequence goes on behind `seq`, and never before the highest key that is there. RESTART
-- is undone by a rollback, as setval() alone is not.
CREATE OR REPLACE FUNCTION cutover.recount(sequence text, seq bigint, highest bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    mark bigint := greatest(seq, highest);
BEGIN
    IF sequence IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '22032', MESSAGE = 'sqlite_sequence has AUTOINCREMENT tables alone on PostgreSQL';
    END IF;
    EXECUTE format('ALTER SEQUENCE %s RESTART', sequence);
    IF mark >= 1 THEN
        PERFORM setval(sequence::regclass, mark);
    END IF;
    RETURN mark;
END $$;

-- What sqlite_sequence says of a table; NULL where it has no row of it. `cutover.marks` has, by sequence, what is known in
-- memory of this transaction: the highest key that was given, how far that brought the sequence, and whether there is a
-- row where none was. A sequence that stands further was drawn from by others, whose keys count; the highest of the
-- rows does not, since an UPDATE may have moved it there. `filled`: whether the table has rows.
CREATE OR REPLACE FUNCTION cutover.mark(sequence text, filled boolean) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    stands bigint := pg_sequence_last_value(sequence::regclass);
    known json := nullif(current_setting('cutover.marks', true), '')::json -> sequence;
BEGIN
    IF known IS NULL OR stands > (known ->> 1)::bigint THEN
        RETURN coalesce(stands, CASE WHEN filled THEN 0 END);
    END IF;
    IF (known ->> 0)::bigint > 0 THEN
        RETURN (known ->> 0)::bigint;
    END IF;
    RETURN CASE WHEN coalesce((known ->> 2)::boolean, filled) THEN 0 END;
END $$;

-- The key that is so many above the highest; where 64 bits do not hold it, an error of that state.
CREATE OR REPLACE FUNCTION cutover.used_up(most bigint, state text) RETURNS bigint LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = state, MESSAGE = 'no automatic key is left';
END $$;
CREATE OR REPLACE FUNCTION cutover.key_above(most bigint, place bigint, state text) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN most > 9223372036854775807 - place THEN cutover.used_up(most, state) ELSE most + place END;

-- A key that UPDATE gives a row of an AUTOINCREMENT table: behind the last one SQLite would give no more while it is there.
CREATE OR REPLACE FUNCTION cutover.key_moved(key bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF key = 9223372036854775807 THEN
        RAISE EXCEPTION USING ERRCODE = 'CUT05', MESSAGE = 'an UPDATE gives the last key';
    END IF;
    RETURN key;
END $$;

-- The key of the row at this place; those behind the last that is stored would have the key behind its own.
CREATE OR REPLACE FUNCTION cutover.key_at(keys bigint[], place bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(keys[place], keys[cardinality(keys)] + 1);

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

-- The same for AUTOINCREMENT, which gives nothing any more once the last key there is was given.
CREATE OR REPLACE FUNCTION cutover.advance_to_end(sequence text, id bigint) RETURNS bigint LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_sequence WHERE seqrelid = sequence::regclass AND seqincrement > 0 AND id = seqmax) THEN
        RETURN setval(sequence::regclass, id);
    END IF;
    RETURN cutover.advance(sequence, id);
END $$;
