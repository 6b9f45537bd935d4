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

-- A point in time as SQLite holds one: what was given (date, time, zone) stays as it was given until something is reckoned.
DO $$ BEGIN
    CREATE TYPE cutover.moment AS (
        jd bigint, y bigint, m bigint, d bigint, hour bigint, minute bigint, s double precision, zone bigint,
        has_jd boolean, raw boolean, has_date boolean, has_time boolean, has_zone boolean, zone_given boolean, failed boolean
    );
EXCEPTION WHEN duplicate_object THEN NULL;
END $$;

CREATE OR REPLACE FUNCTION cutover.no_moment(failed boolean) RETURNS cutover.moment LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ROW(0, 0, 0, 0, 0, 0, 0, 0, false, false, false, false, false, false, failed)::cutover.moment;

-- Its instant, reckoned from date and time if it is not known yet.
CREATE OR REPLACE FUNCTION cutover.with_instant(p cutover.moment) RETURNS cutover.moment
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    IF p.has_jd THEN RETURN p; END IF;
    p.jd := CASE WHEN p.raw THEN NULL WHEN p.has_date THEN cutover.instant_of(p.y, p.m, p.d)
        ELSE cutover.instant_of(2000, 1, 1) END;
    IF p.jd IS NULL THEN RETURN cutover.no_moment(true); END IF;
    p.has_jd := true;
    IF p.has_time THEN
        p.jd := p.jd + p.hour * 3600000 + p.minute * 60000 + trunc(p.s * 1000 + 0.5)::bigint;
        IF p.has_zone THEN
            p.jd := p.jd - p.zone * 60000;
            p.has_date := false; p.has_time := false; p.has_zone := false;
        END IF;
    END IF;
    RETURN p;
END $$;

CREATE OR REPLACE FUNCTION cutover.with_date(p cutover.moment) RETURNS cutover.moment
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    found bigint[];
BEGIN
    IF p.has_date THEN RETURN p; END IF;
    IF NOT p.has_jd THEN
        found := '{2000,1,1}';
    ELSIF p.jd NOT BETWEEN 0 AND 464269060799999 THEN
        RETURN cutover.no_moment(true);
    ELSE
        found := cutover.calendar(p.jd);
    END IF;
    p.y := found[1]; p.m := found[2]; p.d := found[3]; p.has_date := true;
    RETURN p;
END $$;

CREATE OR REPLACE FUNCTION cutover.with_time(p cutover.moment) RETURNS cutover.moment
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    whole bigint;
BEGIN
    IF p.has_time THEN RETURN p; END IF;
    p := cutover.with_instant(p);
    p.s := ((p.jd + 43200000) % 86400000) / 1000.0::double precision;
    whole := trunc(p.s);
    p.hour := whole / 3600; p.minute := whole % 3600 / 60;
    p.s := p.s - whole + whole % 60;
    p.raw := false; p.has_time := true;
    RETURN p;
END $$;

-- Local time, which is UTC. Years that the C library may not know are moved to like ones, and an error is forgotten.
CREATE OR REPLACE FUNCTION cutover.with_local_time(p cutover.moment) RETURNS cutover.moment
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    x cutover.moment;
    moved bigint := 0;
    seconds bigint;
    found bigint[];
BEGIN
    p := cutover.with_instant(p);
    seconds := p.jd / 1000 - 210866760000;
    IF p.jd NOT BETWEEN 210866760000000 AND 213014145600000 THEN
        x := cutover.with_time(cutover.with_date(p));
        moved := 2000 + x.y % 4 - x.y;
        x.y := x.y + moved; x.has_jd := false;
        x := cutover.with_instant(x);
        seconds := x.jd / 1000 - 210866760000;
    END IF;
    found := cutover.calendar(seconds * 1000 + 210866760000000);
    p.y := found[1] - moved; p.m := found[2]; p.d := found[3];
    p.hour := seconds % 86400 / 3600; p.minute := seconds % 3600 / 60;
    p.s := seconds % 60 + (p.jd % 1000) * 0.001::double precision;
    p.has_date := true; p.has_time := true; p.has_jd := false; p.raw := false; p.has_zone := false; p.failed := false;
    RETURN p;
END $$;

-- The same moment with the hours, minutes, seconds and zone that a text gives; NULL if it does not.
CREATE OR REPLACE FUNCTION cutover.with_clock(p cutover.moment, x text) RETURNS cutover.moment
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    part text[] := regexp_match(x,
        '^(\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?\s*(?:([Zz])|([+-])(\d\d):(\d\d))?\s*$');
BEGIN
    IF part IS NULL OR part[1]::int > 24 OR part[2]::int > 59 OR part[3]::int > 59 OR part[7]::int > 14 OR part[8]::int > 59
    THEN RETURN NULL; END IF;
    p.has_jd := false; p.raw := false; p.has_time := true;
    p.hour := part[1]; p.minute := part[2];
    p.s := coalesce(part[3], '0')::double precision + ('0.' || coalesce(part[4], '0'))::double precision;
    p.zone := coalesce((part[7]::int * 60 + part[8]::int) * CASE part[6] WHEN '-' THEN -1 ELSE 1 END, 0);
    p.has_zone := p.zone <> 0;
    p.zone_given := p.zone_given OR part[5] IS NOT NULL OR part[6] IS NOT NULL;
    RETURN p;
END $$;

-- What a text or number says; NULL if it is no date.
CREATE OR REPLACE FUNCTION cutover.moment_given(x text) RETURNS cutover.moment LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    p cutover.moment := cutover.no_moment(false);
    part text[] := regexp_match(x, '^(-?)(\d{4})-(\d\d)-(\d\d)[\sT]*(.*)$');
    number double precision;
BEGIN
    IF part IS NOT NULL THEN
        IF part[3]::int NOT BETWEEN 1 AND 12 OR part[4]::int NOT BETWEEN 1 AND 31 THEN RETURN NULL; END IF;
        IF part[5] <> '' THEN p := cutover.with_clock(p, part[5]); END IF;
        IF p IS NULL THEN RETURN NULL; END IF;
        p.y := part[1] || part[2]; p.m := part[3]; p.d := part[4]; p.has_date := true;
        RETURN CASE WHEN p.has_zone THEN cutover.with_instant(p) ELSE p END;
    END IF;
    IF x ~ '^\d\d:' THEN RETURN cutover.with_clock(p, x); END IF;
    IF lower(x) = 'now' THEN
        p.jd := (extract(epoch FROM statement_timestamp()) * 1000)::bigint + 210866760000000; p.has_jd := true;
        RETURN p;
    END IF;
    number := cutover.number_given(x);
    IF number IS NULL THEN RETURN NULL; END IF;
    p.s := number; p.raw := true;
    IF number >= 0 AND number < 5373484.5 THEN p.jd := trunc(number * 86400000.0 + 0.5)::bigint; p.has_jd := true; END IF;
    RETURN p;
END $$;

-- The number that a text is as a whole, or NULL.
CREATE OR REPLACE FUNCTION cutover.number_given(x text) RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN x ~ '^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2})?\s*$' THEN x::double precision END;

CREATE OR REPLACE FUNCTION cutover.modified(p cutover.moment, modifier text, place int) RETURNS cutover.moment
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    r double precision;
    part text[];
    x cutover.moment;
    wanted bigint;
    guess bigint;
    off bigint := 0;
BEGIN
    CASE
    WHEN modifier = 'auto' THEN
        IF place > 1 THEN RETURN NULL; END IF;
        IF p.raw AND NOT p.has_jd THEN
            IF p.s NOT BETWEEN -210866760000 AND 253402300799 THEN RETURN NULL; END IF;
            p.jd := trunc(p.s * 1000.0 + 210866760000000.0 + 0.5)::bigint;
            p.has_jd := true; p.has_date := false; p.has_time := false; p.has_zone := false;
        END IF;
        p.raw := false;
    WHEN modifier = 'julianday' THEN
        IF place > 1 OR NOT p.has_jd OR NOT p.raw THEN RETURN NULL; END IF;
        p.raw := false;
    WHEN modifier = 'unixepoch' THEN
        r := p.s * 1000.0 + 210866760000000.0;
        IF place > 1 OR NOT p.raw OR r < 0 OR r >= 464269060800000.0 THEN RETURN NULL; END IF;
        p.jd := trunc(r + 0.5)::bigint;
        p.has_jd := true; p.raw := false; p.has_date := false; p.has_time := false; p.has_zone := false;
    WHEN modifier = 'localtime' THEN
        p := cutover.with_local_time(p);
    WHEN modifier = 'utc' THEN
        IF NOT p.zone_given THEN
            p := cutover.with_instant(p);
            wanted := p.jd;
            guess := p.jd;
            FOR tried IN 1..5 LOOP
                guess := guess - off;
                x := cutover.no_moment(false);
                x.jd := guess; x.has_jd := true;
                x := cutover.with_instant(cutover.with_local_time(x));
                off := x.jd - wanted;
                EXIT WHEN off = 0 OR tried = 5;
            END LOOP;
            p := cutover.no_moment(false);
            p.jd := guess; p.has_jd := true; p.zone_given := true;
        END IF;
    WHEN modifier LIKE 'weekday %' THEN
        r := cutover.number_given(substr(modifier, 9));
        IF r IS NULL OR r < 0 OR r >= 7 OR r <> trunc(r) THEN RETURN NULL; END IF;
        p := cutover.with_time(cutover.with_date(p));
        p.has_zone := false; p.has_jd := false;
        p := cutover.with_instant(p);
        off := ((p.jd + 129600000) / 86400000) % 7;
        p.jd := p.jd + (r::bigint - CASE WHEN off > r THEN off - 7 ELSE off END) * 86400000;
        p.has_date := false; p.has_time := false; p.has_zone := false;
    WHEN modifier IN ('start of day', 'start of month', 'start of year') THEN
        IF NOT p.has_jd AND NOT p.has_date AND NOT p.has_time THEN RETURN NULL; END IF;
        p := cutover.with_date(p);
        p.has_time := true; p.hour := 0; p.minute := 0; p.s := 0;
        p.raw := false; p.has_zone := false; p.has_jd := false;
        IF modifier <> 'start of day' THEN p.d := 1; END IF;
        IF modifier = 'start of year' THEN p.m := 1; END IF;
    WHEN modifier ~ '^[-+0-9][^\s:]*:' THEN
        x := cutover.with_clock(cutover.no_moment(false), ltrim(left(modifier, 1), '+-') || substr(modifier, 2));
        IF x IS NULL THEN RETURN NULL; END IF;
        x := cutover.with_instant(x);
        off := (x.jd - 43200000) % 86400000;
        p := cutover.with_instant(p);
        p.has_date := false; p.has_time := false; p.has_zone := false;
        p.jd := p.jd + CASE WHEN modifier LIKE '-%' THEN -off ELSE off END;
    ELSE
        part := regexp_match(modifier, '^([-+0-9]\S*)\s+(second|minute|hour|day|month|year)s?$');
        r := cutover.number_given(part[1]);
        IF r IS NULL OR abs(r) >= (CASE part[2] WHEN 'second' THEN 4.6427e+14::real WHEN 'minute' THEN 7.7379e+12::real
            WHEN 'hour' THEN 1.2897e+11::real WHEN 'day' THEN 5373485.0::real WHEN 'month' THEN 176546.0::real
            ELSE 14713.0::real END)
        THEN RETURN NULL; END IF;
        p := cutover.with_instant(p);
        off := CASE WHEN r < 0 THEN -1 ELSE 1 END;
        IF part[2] IN ('month', 'year') THEN
            p := cutover.with_time(cutover.with_date(p));
            IF part[2] = 'year' THEN
                p.y := p.y + trunc(r)::bigint;
            ELSE
                p.m := p.m + trunc(r)::bigint;
                guess := CASE WHEN p.m > 0 THEN (p.m - 1) / 12 ELSE (p.m - 12) / 12 END;
                p.y := p.y + guess; p.m := p.m - guess * 12;
            END IF;
            p.has_jd := false;
            r := r - trunc(r);
        END IF;
        p := cutover.with_instant(p);
        p.jd := p.jd + trunc(r * 1000.0 * CASE part[2] WHEN 'second' THEN 1.0 WHEN 'minute' THEN 60.0 WHEN 'hour' THEN 3600.0
            WHEN 'day' THEN 86400.0 WHEN 'month' THEN 2592000.0 ELSE 31536000.0 END + off * 0.5)::bigint;
        p.has_date := false; p.has_time := false; p.has_zone := false;
    END CASE;
    RETURN p;
END $$;

-- A date with its modifiers, its instant, date and time reckoned; NULL if it is none.
CREATE OR REPLACE FUNCTION cutover.moment_of(x text, modifiers text[]) RETURNS cutover.moment
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    p cutover.moment;
BEGIN
    IF x IS NULL THEN RETURN NULL; END IF;
    p := cutover.moment_given(x);
    FOR place IN 1..cardinality(modifiers) LOOP
        IF p IS NULL OR modifiers[place] IS NULL THEN RETURN NULL; END IF;
        p := cutover.modified(p, lower(modifiers[place]), place);
    END LOOP;
    IF p IS NULL THEN RETURN NULL; END IF;
    p := cutover.with_instant(p);
    IF p.failed OR p.jd NOT BETWEEN 0 AND 464269060799999 THEN RETURN NULL; END IF;
    RETURN cutover.with_time(cutover.with_date(p));
END $$;

CREATE OR REPLACE FUNCTION cutover.written_date(p cutover.moment) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN (p).y < 0 THEN '-' ELSE '' END || lpad(abs((p).y)::text, 4, '0') || '-' || lpad((p).m::text, 2, '0')
    || '-' || lpad((p).d::text, 2, '0');

CREATE OR REPLACE FUNCTION cutover.written_time(p cutover.moment) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN lpad((p).hour::text, 2, '0') || ':' || lpad((p).minute::text, 2, '0') || ':' || lpad(trunc((p).s)::text, 2, '0');

CREATE OR REPLACE FUNCTION cutover.datetime(x text, VARIADIC modifiers text[] DEFAULT '{}') RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN (SELECT cutover.written_date(p) || ' ' || cutover.written_time(p) FROM (SELECT cutover.moment_of(x, modifiers) AS p) AS found);

CREATE OR REPLACE FUNCTION cutover.date(x text, VARIADIC modifiers text[] DEFAULT '{}') RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE RETURN cutover.written_date(cutover.moment_of(x, modifiers));

CREATE OR REPLACE FUNCTION cutover.time(x text, VARIADIC modifiers text[] DEFAULT '{}') RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE RETURN cutover.written_time(cutover.moment_of(x, modifiers));

CREATE OR REPLACE FUNCTION cutover.julianday(x text, VARIADIC modifiers text[] DEFAULT '{}') RETURNS double precision
LANGUAGE sql STABLE PARALLEL SAFE RETURN (cutover.moment_of(x, modifiers)).jd::double precision / 86400000.0;

CREATE OR REPLACE FUNCTION cutover.unixepoch(x text, VARIADIC modifiers text[] DEFAULT '{}') RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE RETURN (cutover.moment_of(x, modifiers)).jd / 1000 - 210866760000;

CREATE OR REPLACE FUNCTION cutover.strftime(format text, x text, VARIADIC modifiers text[] DEFAULT '{}') RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    p cutover.moment := cutover.moment_of(x, modifiers);
    first cutover.moment := p;
    day bigint;
    result text := '';
    part text;
BEGIN
    IF p IS NULL OR format IS NULL THEN RETURN NULL; END IF;
    first.has_jd := false; first.m := 1; first.d := 1;
    first := cutover.with_instant(first);
    day := (p.jd - first.jd + 43200000) / 86400000;
    FOR part IN SELECT matched[1] FROM regexp_matches(format, '%.|[^%]+|%', 'gs') AS matched LOOP
        result := result || CASE part COLLATE "C"
            WHEN '%d' THEN lpad(p.d::text, 2, '0')
            WHEN '%f' THEN to_char(least(p.s, 59.999)::numeric, 'FM00.000')
            WHEN '%H' THEN lpad(p.hour::text, 2, '0')
            WHEN '%j' THEN lpad((day + 1)::text, 3, '0')
            WHEN '%J' THEN cutover.real_format(p.jd / 86400000.0::double precision, 'g', 15, 5.000000000000004e-16, false, false, '', 0, false)
            WHEN '%m' THEN lpad(p.m::text, 2, '0')
            WHEN '%M' THEN lpad(p.minute::text, 2, '0')
            WHEN '%s' THEN (p.jd / 1000 - 210866760000)::text
            WHEN '%S' THEN lpad(trunc(p.s)::text, 2, '0')
            WHEN '%w' THEN (((p.jd + 129600000) / 86400000) % 7)::text
            WHEN '%W' THEN lpad(((day + 7 - ((p.jd + 43200000) / 86400000) % 7) / 7)::text, 2, '0')
            WHEN '%Y' THEN regexp_replace(left(cutover.written_date(p), -6), '^-0', '-')
            WHEN '%%' THEN '%'
            ELSE CASE WHEN part LIKE '\%%' THEN NULL ELSE part END
        END;
    END LOOP;
    RETURN result;
END $$;

-- What versions before had, and nothing calls any more.
DROP FUNCTION IF EXISTS cutover.moment(text, text[]);
DROP FUNCTION IF EXISTS cutover.modified(timestamp, text);
DROP FUNCTION IF EXISTS cutover.shown(text, text[], bigint);
DROP FUNCTION IF EXISTS cutover.instant(text, text[]);
DROP FUNCTION IF EXISTS cutover.clock(text);
DROP FUNCTION IF EXISTS cutover.written_date(bigint);
DROP FUNCTION IF EXISTS cutover.written_time(bigint);
