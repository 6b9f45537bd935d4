-- Reals of 64 binary digits, in which SQLite prints and rounds, as numerics. Each is exact.

CREATE OR REPLACE FUNCTION cutover.power_of_two(n integer) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN CASE WHEN n >= 0 THEN trunc(2::numeric ^ n) ELSE trunc(5::numeric ^ -n) * ('1e' || n)::numeric END;

CREATE OR REPLACE FUNCTION cutover.binary_exponent(x double precision) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN (((get_byte(float8send(x), 0) & 127) << 4) | (get_byte(float8send(x), 1) >> 4)) - 1023;

-- The nearest such real to a quotient of numbers that are not negative; of two that are as near, the even one.
CREATE OR REPLACE FUNCTION cutover.extended(n numeric, d numeric) RETURNS numeric
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    shift integer;
    scaled numeric;
    whole numeric;
    rest numeric;
    top CONSTANT numeric := 18446744073709551616;
BEGIN
    IF n = 0 THEN
        RETURN 0;
    END IF;
    IF n > 1e300 THEN
        RETURN cutover.extended(n * cutover.power_of_two(-256), d) * cutover.power_of_two(256);
    ELSIF n < 1e-290 THEN
        RETURN cutover.extended(n * cutover.power_of_two(256), d) * cutover.power_of_two(-256);
    END IF;
    shift := 63 - cutover.binary_exponent(n::double precision) + cutover.binary_exponent(d::double precision);
    LOOP
        scaled := n * cutover.power_of_two(shift);
        whole := div(scaled, d);
        EXIT WHEN whole >= top / 2 AND whole < top;
        shift := shift + CASE WHEN whole < top / 2 THEN 1 ELSE -1 END;
    END LOOP;
    rest := (scaled - whole * d) * 2;
    IF rest > d OR (rest = d AND mod(whole, 2) = 1) THEN
        whole := whole + 1;
    END IF;
    RETURN whole * cutover.power_of_two(-shift);
END $$;

CREATE OR REPLACE FUNCTION cutover.extended(n numeric) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN cutover.extended(n, 1);

-- The same for one below 20 that is given in units of the 63rd binary place.
CREATE OR REPLACE FUNCTION cutover.on_grid(n numeric) RETURNS numeric LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    unit numeric := CASE WHEN n >= 147573952589676412928 THEN 16 WHEN n >= 73786976294838206464 THEN 8
        WHEN n >= 36893488147419103232 THEN 4 WHEN n >= 18446744073709551616 THEN 2 ELSE 1 END;
    whole numeric := div(n, unit);
    rest numeric := (n - whole * unit) * 2;
BEGIN
    RETURN CASE WHEN rest > unit OR (rest = unit AND mod(whole, 2) = 1) THEN whole + 1 ELSE whole END * unit;
END $$;

-- A number as one of at least 1 and below 10, in those units, and the power of ten that it is to be multiplied by.
CREATE OR REPLACE FUNCTION cutover.normalized(n numeric, OUT mantissa numeric, OUT ten integer)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    scale numeric := 1;
    one CONSTANT numeric := 9223372036854775808;
    hundred CONSTANT numeric := cutover.exact(1e100);
BEGIN
    ten := 0;
    mantissa := n;
    IF n >= 1e27 THEN
        WHILE n >= cutover.extended(hundred * scale) LOOP
            scale := cutover.extended(hundred * scale);
            ten := ten + 100;
        END LOOP;
        WHILE n >= cutover.extended(1e10 * scale) LOOP
            scale := cutover.extended(1e10 * scale);
            ten := ten + 10;
        END LOOP;
        WHILE n >= cutover.extended(10 * scale) LOOP
            scale := cutover.extended(10 * scale);
            ten := ten + 1;
        END LOOP;
    ELSIF n >= 1 THEN -- up to there such powers of ten are exact
        ten := length(trunc(n)::text) - 1;
        scale := ('1e' || ten)::numeric;
    ELSIF n > 0 THEN
        WHILE mantissa < cutover.exact(1e-8) LOOP
            mantissa := cutover.extended(mantissa * 1e8);
            ten := ten - 8;
        END LOOP;
        WHILE mantissa < 1 LOOP
            mantissa := cutover.extended(mantissa * 10);
            ten := ten - 1;
        END LOOP;
    END IF;
    mantissa := CASE WHEN scale = 1 THEN mantissa ELSE cutover.extended(mantissa, scale) END * one;
END $$;

-- Half of the last of so many decimal places, as SQLite computes it.
CREATE OR REPLACE FUNCTION cutover.rounder(places integer) RETURNS double precision LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    half double precision := ('5e-' || (places % 10 + 1))::double precision;
BEGIN
    FOR step IN 1 .. places / 10 LOOP
        half := half * 1e-10;
    END LOOP;
    RETURN half;
END $$;

-- round() to some places: the text that printf() gives, read again. Where that is not near the middle between two such
-- numbers, and has no more than 15 digits, any way of rounding gives the same.
CREATE OR REPLACE FUNCTION cutover.rounded(x double precision, places integer) RETURNS double precision
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held numeric := abs(x)::text::numeric;
    moved numeric := held * ('1e' || places)::numeric;
BEGIN
    IF moved < 1e15 AND abs(moved - trunc(moved) - 0.5) > 1e-9 + moved * 1e-15 THEN
        held := round(held, places);
    ELSE
        held := cutover.real_format(abs(x), 'f', places, cutover.rounder(places), false, false, '', 0, false)::numeric;
    END IF;
    held := trim_scale(held);
    places := scale(held);
    IF places > 12 OR (places > 0 AND moved >= 1e15) THEN -- else the nearest real is the one that SQLite reads
        held := cutover.extended(trunc(held * ('1e' || places)::numeric), cutover.extended(('1e' || places)::numeric));
    END IF;
    RETURN CASE WHEN x < 0 THEN -(held::double precision) ELSE held::double precision END;
END $$;
