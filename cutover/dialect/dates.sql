-- Dates and times as SQLite reckons them (https://sqlite.org/lang_datefunc.html): milliseconds since noon of the first
-- Julian day, in UTC. NULL for what is no date.

-- Of a day in the proleptic Gregorian calendar, its midnight. A day beyond the month's end is one of the next month.
CREATE OR REPLACE FUNCTION cutover.instant_of(y bigint, m bigint, d bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN y BETWEEN -4713 AND 9999 THEN (
    SELECT ((36525 * (yy + 4716)) / 100 + (306001 * (mm + 1)) / 10000 + d + 2 - yy / 100 + yy / 400) * 86400000
        - 131716800000
    FROM (SELECT CASE WHEN m <= 2 THEN y - 1 ELSE y END AS yy, CASE WHEN m <= 2 THEN m + 12 ELSE m END AS mm) AS shifted
) END;

-- (year, month, day) of an instant.
CREATE OR REPLACE FUNCTION cutover.calendar(x bigint) RETURNS bigint[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT AS $$
DECLARE
    z bigint := (x + 43200000) / 86400000;
    a bigint := trunc((z - 1867216.25) / 36524.25);
    b bigint;
    c bigint;
    d bigint;
    e bigint;
BEGIN
    a := z + 1 + a - a / 4;
    b := a + 1524;
    c := trunc((b - 122.1) / 365.25);
    d := (36525 * (c & 32767)) / 100;
    e := trunc((b - d) / 30.6001);
    RETURN ARRAY[
        CASE WHEN (CASE WHEN e < 14 THEN e - 1 ELSE e - 13 END) > 2 THEN c - 4716 ELSE c - 4715 END,
        CASE WHEN e < 14 THEN e - 1 ELSE e - 13 END,
        b - d - trunc(30.6001 * e)::bigint];
END $$;

-- Hours, minutes and seconds, with an offset, as milliseconds; NULL for what is none.
CREATE OR REPLACE FUNCTION cutover.clock(x text) RETURNS bigint LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT AS $$
DECLARE
    p text[] := regexp_match(x,
        '^(\d\d):(\d\d)(?::(\d\d(?:\.\d+)?))?\s*(?:[Zz]|([+-])(\d\d):(\d\d))?\s*$');
    offset_minutes bigint := 0;
BEGIN
    IF p IS NULL OR p[1]::int > 24 OR p[2]::int > 59 OR coalesce(p[3], '0')::numeric >= 60 THEN
        RETURN NULL;
    END IF;
    IF p[4] IS NOT NULL THEN
        IF p[5]::int > 14 OR p[6]::int > 59 THEN RETURN NULL; END IF;
        offset_minutes := (p[5]::int * 60 + p[6]::int) * CASE p[4] WHEN '-' THEN -1 ELSE 1 END;
    END IF;
    RETURN p[1]::bigint * 3600000 + p[2]::bigint * 60000
        + trunc(coalesce(p[3], '0')::double precision * 1000 + 0.5)::bigint - offset_minutes * 60000;
END $$;

CREATE OR REPLACE FUNCTION cutover.instant(x text, modifiers text[]) RETURNS bigint LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    p text[];
    at bigint;
    raw double precision;
    modifier text;
    place int := 0;
    ymd bigint[];
    given_ymd bigint[];
    given_clock bigint;
    r double precision;
    unit text;
    shift bigint;
BEGIN
    IF x IS NULL THEN RETURN NULL; END IF;
    p := regexp_match(x, '^(-?)(\d{4})-(\d\d)-(\d\d)([\sT]*)(.*)$');
    IF p IS NOT NULL THEN
        IF p[3]::int NOT BETWEEN 1 AND 12 OR p[4]::int NOT BETWEEN 1 AND 31 THEN
            p := NULL;
        ELSE
            given_ymd := ARRAY[p[1] || p[2], p[3], p[4]]::bigint[];
            at := cutover.instant_of(given_ymd[1], given_ymd[2], given_ymd[3]);
            IF p[6] <> '' THEN
                given_clock := cutover.clock(p[6]);
                at := at + given_clock;
            END IF;
            IF p[6] ~ '[-+Zz]' THEN given_ymd := NULL; given_clock := NULL; END IF;
        END IF;
    ELSIF x ~ '^\d\d:\d\d' AND cutover.clock(x) IS NOT NULL THEN
        given_clock := cutover.clock(x);
        at := cutover.instant_of(2000, 1, 1) + given_clock;
        IF x ~ '[-+Zz]' THEN given_clock := NULL; END IF;
    ELSIF lower(x) = 'now' THEN
        at := (extract(epoch FROM statement_timestamp()) * 1000)::bigint + 210866760000000;
    END IF;
    IF at IS NULL THEN
        IF x !~ '^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$' THEN RETURN NULL; END IF;
        raw := trim(x)::double precision;
        IF raw >= 0 AND raw < 5373484.5 THEN at := trunc(raw * 86400000.0 + 0.5)::bigint; END IF;
    END IF;
    FOREACH modifier IN ARRAY modifiers LOOP
        place := place + 1;
        modifier := lower(modifier);
        IF modifier IS NULL THEN RETURN NULL; END IF;
        CASE
        WHEN modifier = 'auto' THEN
            IF place > 1 THEN RETURN NULL; END IF;
            IF raw IS NOT NULL AND at IS NULL THEN
                IF raw NOT BETWEEN -210866760000 AND 253402307999 THEN RETURN NULL; END IF;
                at := trunc(raw * 1000.0 + 210866760000000.0 + 0.5)::bigint;
            END IF;
            raw := NULL;
        WHEN modifier = 'julianday' THEN
            IF place > 1 OR raw IS NULL OR at IS NULL THEN RETURN NULL; END IF;
            raw := NULL;
        WHEN modifier = 'unixepoch' THEN
            IF place > 1 OR raw IS NULL THEN RETURN NULL; END IF;
            r := raw * 1000.0 + 210866760000000.0;
            IF r < 0 OR r >= 464269060800000.0 THEN RETURN NULL; END IF;
            at := trunc(r + 0.5)::bigint;
            raw := NULL;
        WHEN modifier IN ('localtime', 'utc') THEN
            NULL;
        WHEN modifier ~ '^weekday ' THEN
            IF substr(modifier, 9) !~ '^\s*\+?[0-6](\.0*)?\s*$' THEN RETURN NULL; END IF;
            ymd := coalesce(given_ymd, cutover.calendar(at));
            at := cutover.instant_of(ymd[1], ymd[2], ymd[3]) + coalesce(given_clock, (at + 43200000) % 86400000);
            shift := ((at + 129600000) / 86400000) % 7;
            IF shift > trim(substr(modifier, 9))::double precision THEN shift := shift - 7; END IF;
            at := at + (trim(substr(modifier, 9))::double precision::bigint - shift) * 86400000;
        WHEN modifier IN ('start of day', 'start of month', 'start of year') THEN
            ymd := coalesce(given_ymd, cutover.calendar(at));
            at := cutover.instant_of(ymd[1], CASE modifier WHEN 'start of year' THEN 1 ELSE ymd[2] END,
                CASE modifier WHEN 'start of day' THEN ymd[3] ELSE 1 END);
        WHEN modifier ~ '^[+-]?\d\d:\d\d' THEN
            shift := cutover.clock(ltrim(modifier, '+-'));
            IF shift IS NULL THEN RETURN NULL; END IF;
            shift := ((shift % 86400000) + 86400000) % 86400000;
            at := at + shift * CASE WHEN modifier LIKE '-%' THEN -1 ELSE 1 END;
        ELSE
            p := regexp_match(modifier, '^([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s+(second|minute|hour|day|month|year)s?$');
            IF p IS NULL OR modifier !~ '^[-+0-9]' THEN RETURN NULL; END IF;
            r := p[1]::double precision;
            unit := p[2];
            IF abs(r) >= (CASE unit WHEN 'second' THEN 4.6427e+14 WHEN 'minute' THEN 7.7379e+12 WHEN 'hour' THEN 1.2897e+11
                WHEN 'day' THEN 5373485.0 WHEN 'month' THEN 176546.0 ELSE 14713.0 END)
            THEN RETURN NULL; END IF;
            shift := CASE WHEN r < 0 THEN -1 ELSE 1 END;
            IF unit IN ('month', 'year') THEN
                ymd := coalesce(given_ymd, cutover.calendar(at));
                IF unit = 'year' THEN
                    ymd[1] := ymd[1] + trunc(r)::bigint;
                ELSE
                    ymd[2] := ymd[2] + trunc(r)::bigint;
                    ymd[1] := ymd[1] + floor((ymd[2] - 1) / 12.0)::bigint;
                    ymd[2] := ((ymd[2] - 1) % 12 + 12) % 12 + 1;
                END IF;
                at := cutover.instant_of(ymd[1], ymd[2], ymd[3]) + coalesce(given_clock, (at + 43200000) % 86400000);
                r := r - trunc(r);
            END IF;
            at := at + trunc(r * 1000.0 * CASE unit WHEN 'second' THEN 1.0 WHEN 'minute' THEN 60.0 WHEN 'hour' THEN 3600.0
                WHEN 'day' THEN 86400.0 WHEN 'month' THEN 2592000.0 ELSE 31536000.0 END + shift * 0.5)::bigint;
        END CASE;
        IF at IS NULL OR at NOT BETWEEN 0 AND 464269060799999 THEN RETURN NULL; END IF;
        IF modifier NOT IN ('utc', 'localtime') THEN
            given_ymd := NULL;
            given_clock := NULL;
        END IF;
    END LOOP;
    RETURN CASE WHEN at BETWEEN 0 AND 464269060799999 THEN at END;
END $$;

CREATE OR REPLACE FUNCTION cutover.written_date(x bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN (SELECT CASE WHEN d[1] < 0 THEN '-' ELSE '' END || lpad(abs(d[1])::text, 4, '0') || '-' || lpad(d[2]::text, 2, '0')
    || '-' || lpad(d[3]::text, 2, '0') FROM (SELECT cutover.calendar(x) AS d) AS found);

CREATE OR REPLACE FUNCTION cutover.written_time(x bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN (SELECT lpad((s / 3600)::text, 2, '0') || ':' || lpad((s / 60 % 60)::text, 2, '0') || ':' || lpad((s % 60)::text, 2, '0')
    FROM (SELECT (x + 43200000) % 86400000 / 1000 AS s) AS found);

-- "YYYY-MM-DD HH:MM:SS.SSS". What was given is shown as it was given where nothing was reckoned: the 30th of February.
CREATE OR REPLACE FUNCTION cutover.shown(x text, modifiers text[], at bigint) RETURNS text LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    p text[];
BEGIN
    IF at IS NULL THEN RETURN NULL; END IF;
    IF modifiers = '{}' THEN
        p := regexp_match(x, '^(-?\d{4}-\d\d-\d\d)?[\sT]*(?:(\d\d:\d\d)(?::(\d\d(?:\.\d+)?))?)?\s*$');
    END IF;
    RETURN coalesce(p[1], cutover.written_date(at)) || ' ' || CASE
        WHEN p[2] IS NULL THEN cutover.written_time(at) || '.' || lpad(((at + 43200000) % 1000)::text, 3, '0')
        ELSE p[2] || ':' || to_char(least(coalesce(p[3], '0')::numeric, 59.999), 'FM00.000') END;
END $$;

CREATE OR REPLACE FUNCTION cutover.datetime(x text, VARIADIC modifiers text[] DEFAULT '{}') RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE RETURN left(cutover.shown(x, modifiers, cutover.instant(x, modifiers)), -4);

CREATE OR REPLACE FUNCTION cutover.date(x text, VARIADIC modifiers text[] DEFAULT '{}') RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE RETURN left(cutover.shown(x, modifiers, cutover.instant(x, modifiers)), -13);

CREATE OR REPLACE FUNCTION cutover.time(x text, VARIADIC modifiers text[] DEFAULT '{}') RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE RETURN left(right(cutover.shown(x, modifiers, cutover.instant(x, modifiers)), 12), 8);

CREATE OR REPLACE FUNCTION cutover.julianday(x text, VARIADIC modifiers text[] DEFAULT '{}') RETURNS double precision
LANGUAGE sql STABLE PARALLEL SAFE RETURN cutover.instant(x, modifiers)::double precision / 86400000.0;

CREATE OR REPLACE FUNCTION cutover.unixepoch(x text, VARIADIC modifiers text[] DEFAULT '{}') RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE RETURN cutover.instant(x, modifiers) / 1000 - 210866760000;

CREATE OR REPLACE FUNCTION cutover.strftime(format text, x text, VARIADIC modifiers text[] DEFAULT '{}') RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    at bigint := cutover.instant(x, modifiers);
    d text := left(cutover.shown(x, modifiers, at), -13);
    t text := right(cutover.shown(x, modifiers, at), 12);
    day bigint;
    result text := '';
    part text;
BEGIN
    IF at IS NULL OR format IS NULL THEN RETURN NULL; END IF;
    day := (at + 43200000 - cutover.instant_of(left(d, -6)::bigint, 1, 1) - cutover.clock(t)) / 86400000;
    FOR part IN SELECT matched[1] FROM regexp_matches(format, '%.|[^%]+|%', 'gs') AS matched LOOP
        result := result || CASE part COLLATE "C"
            WHEN '%d' THEN right(d, 2)
            WHEN '%f' THEN right(t, 6)
            WHEN '%H' THEN left(t, 2)
            WHEN '%j' THEN lpad((day + 1)::text, 3, '0')
            WHEN '%J' THEN trim_scale(round((at::numeric / 86400000), 16 - length(trunc(at / 86400000)::text)))::text
            WHEN '%m' THEN left(right(d, 5), 2)
            WHEN '%M' THEN substr(t, 4, 2)
            WHEN '%s' THEN (at / 1000 - 210866760000)::text
            WHEN '%S' THEN substr(t, 7, 2)
            WHEN '%w' THEN (((at + 129600000) / 86400000) % 7)::text
            WHEN '%W' THEN lpad(((day + 7 - ((at + 43200000) / 86400000) % 7) / 7)::text, 2, '0')
            WHEN '%Y' THEN regexp_replace(left(d, -6), '^-0', '-')
            WHEN '%%' THEN '%'
            ELSE CASE WHEN part LIKE '\%%' THEN NULL ELSE part END
        END;
    END LOOP;
    RETURN result;
END $$;

-- What versions before had, and nothing calls any more.
DROP FUNCTION IF EXISTS cutover.moment(text, text[]);
DROP FUNCTION IF EXISTS cutover.modified(timestamp, text);
