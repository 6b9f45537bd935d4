-- printf(), quote() and soundex(), by SQLite's rules.

-- With spaces to a width, which is negative for those on the right. Without `chars` bytes are counted.
CREATE OR REPLACE FUNCTION cutover.padded(x text, width bigint, chars boolean) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN width < 0
    THEN x || repeat(' ', (-width)::integer - CASE WHEN chars THEN length(x) ELSE octet_length(x) END)
    ELSE repeat(' ', width::integer - CASE WHEN chars THEN length(x) ELSE octet_length(x) END) || x END;

-- The beginning of a text, in bytes; half a character is an error.
CREATE OR REPLACE FUNCTION cutover.bytes_of(x text, size bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN convert_from(substr(convert_to(x, 'UTF8'), 1, size::integer), 'UTF8');

-- Without a first character SQLite writes a NUL.
CREATE OR REPLACE FUNCTION cutover.first_of(x text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN x <> '' THEN left(x, 1)
    ELSE cutover.misfit('a text with a NUL character is not possible on PostgreSQL', x)::text END;

CREATE OR REPLACE FUNCTION cutover.digits_of(x bigint, base text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE base
    WHEN 'd' THEN ltrim(x::text, '-')
    WHEN 'u' THEN CASE WHEN x < 0 THEN 18446744073709551616 + x ELSE x::numeric END::text
    WHEN 'x' THEN to_hex(x)
    WHEN 'X' THEN upper(to_hex(x))
    ELSE coalesce(nullif(ltrim((
        SELECT string_agg(((x >> shift) & CASE shift WHEN 63 THEN 1 ELSE 7 END)::text, '' ORDER BY shift DESC)
        FROM generate_series(0, 63, 3) AS shift), '0'), ''), '0') END;

CREATE OR REPLACE FUNCTION cutover.thousands(x text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN reverse(regexp_replace(reverse(x), '(\d{3})(?=\d)', '\1,', 'g'));

-- A real by %f, %e or %g, in the steps of SQLite, which computes with 64 binary digits (`extended.sql`). `rounder` is half of
-- the last digit. Digits after the `known` first are 0.
CREATE OR REPLACE FUNCTION cutover.real_format(
    x double precision, how text, places integer, rounder double precision, sharp boolean, more boolean, prefix text, width bigint,
    zeros boolean
) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held numeric;
    half numeric;
    exponent integer := 0;
    digits text := '';
    digit numeric;
    written text;
    before integer;
    known integer := CASE WHEN more THEN 26 ELSE 16 END;
    stripped boolean := CASE WHEN how = 'g' THEN NOT sharp ELSE more END;
    mark text := CASE WHEN x < 0 THEN '-' ELSE prefix END;
    one CONSTANT numeric := 9223372036854775808;
BEGIN
    IF abs(x) = 'Infinity' THEN
        RETURN mark || 'Inf';
    END IF;
    IF how = 'f' AND NOT more THEN -- far from the middle between two such texts any way of rounding gives the same
        held := abs(x)::text::numeric;
        half := held * ('1e' || places)::numeric;
        IF half < 1e15 AND abs(half - trunc(half) - 0.5) > 1e-9 + half * 1e-15 THEN
            written := round(held, places)::text || CASE WHEN sharp AND places = 0 THEN '.' ELSE '' END;
            RETURN mark || repeat('0', CASE WHEN zeros THEN width ELSE 0 END::integer - length(mark || written)) || written;
        END IF;
    END IF;
    held := cutover.exact(abs(x));
    half := cutover.exact(rounder);
    IF how = 'f' THEN
        IF places + trunc(cutover.binary_exponent(x) / 3) < 15 THEN
            half := cutover.exact(cutover.extended(half + cutover.extended(held * cutover.exact(3e-16)))::double precision);
        END IF;
        held := cutover.extended(held + half);
    END IF;
    SELECT mantissa, ten INTO held, exponent FROM cutover.normalized(held);
    IF how <> 'f' AND held > 0 THEN
        held := cutover.on_grid(held + half * one);
        IF held >= 10 * one THEN
            held := cutover.on_grid(held * cutover.exact(0.1));
            exponent := exponent + 1;
        END IF;
    END IF;
    IF how = 'g' AND exponent BETWEEN -4 AND places THEN
        how := 'f';
        places := places - exponent;
    END IF;
    before := CASE WHEN how = 'f' THEN exponent ELSE 0 END;
    FOR place IN 0 .. least(known - 1, before + places) LOOP
        digit := div(held, one);
        digits := digits || digit::text;
        held := cutover.on_grid((held - digit * one) * 10);
    END LOOP;
    digits := rpad(repeat('0', -before) || digits, greatest(before, 0) + 1 + places, '0');
    written := left(digits, greatest(before, 0) + 1);
    IF places > 0 OR sharp OR more THEN
        written := written || '.' || substr(digits, greatest(before, 0) + 2, places);
        IF stripped THEN
            written := rtrim(written, '0');
            IF written LIKE '%.' THEN
                written := CASE WHEN more THEN written || '0' ELSE rtrim(written, '.') END;
            END IF;
        END IF;
    END IF;
    IF how <> 'f' THEN
        written := written || 'e' || CASE WHEN exponent < 0 THEN '-' ELSE '+' END
            || lpad(abs(exponent)::text, greatest(2, length(abs(exponent)::text)), '0');
    END IF;
    IF zeros AND width > 0 THEN
        written := repeat('0', width::integer - length(mark || written)) || written;
    END IF;
    RETURN mark || written;
END $$;

CREATE OR REPLACE FUNCTION cutover.quote(x double precision) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN cutover.txt(x) !~ 'Inf' AND cutover.txt(x)::double precision = x THEN cutover.txt(x)
    ELSE cutover.misfit('quote() of a real with more than 15 digits is not possible on PostgreSQL', x::text)::text END;

CREATE OR REPLACE FUNCTION cutover.quote(x bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN x::text;

CREATE OR REPLACE FUNCTION cutover.quote(x numeric) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN scale(x) = 0 AND x BETWEEN -9223372036854775808 AND 9223372036854775807 THEN x::text
    ELSE cutover.quote(x::double precision) END;

CREATE OR REPLACE FUNCTION cutover.quote(x text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN '''' || replace(x, '''', '''''') || '''';

CREATE OR REPLACE FUNCTION cutover.quote(x bytea) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN 'X''' || upper(encode(x, 'hex')) || '''';

CREATE OR REPLACE FUNCTION cutover.quote(x jsonb) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE jsonb_typeof(x) WHEN 'number' THEN cutover.quote((x #>> '{}')::numeric)
    WHEN 'object' THEN cutover.quote(cutover.plain_blob(x)) ELSE cutover.quote(x #>> '{}') END;

-- SQLite looks at bytes, and of those beyond ASCII at seven bits.
CREATE OR REPLACE FUNCTION cutover.soundex(x text) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    bytes bytea := convert_to(substring(x from '[A-Za-z].*'), 'UTF8');
    found text;
    code integer;
    previous integer;
    letter integer;
BEGIN
    IF bytes IS NULL THEN
        RETURN '?000';
    END IF;
    found := upper(chr(get_byte(bytes, 0)));
    FOR at IN 0 .. octet_length(bytes) - 1 LOOP
        letter := (get_byte(bytes, at) & 127) | 32;
        code := CASE WHEN (get_byte(bytes, at) & 127) >= 64 AND letter BETWEEN 97 AND 122
            THEN substr('01230120022455012623010202', letter - 96, 1)::integer ELSE 0 END;
        IF code > 0 AND at > 0 AND code <> previous THEN
            found := found || code::text;
        END IF;
        previous := code;
        EXIT WHEN length(found) = 4;
    END LOOP;
    RETURN rpad(found, 4, '0');
END $$;
