-- Arithmetic of reals for what went beyond a double when Postgres computed it: it becomes infinite, or 0, as on SQLite.

CREATE OR REPLACE FUNCTION cutover.wide_add(a double precision, b double precision) RETURNS double precision
LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
    RETURN nullif(a + b, 'NaN');
EXCEPTION WHEN numeric_value_out_of_range THEN
    RETURN CASE WHEN a > 0 THEN 'Infinity' ELSE '-Infinity' END::double precision;
END $$;

CREATE OR REPLACE FUNCTION cutover.wide_sub(a double precision, b double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE STRICT RETURN cutover.wide_add(a, -b);

CREATE OR REPLACE FUNCTION cutover.wide_mul(a double precision, b double precision) RETURNS double precision
LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
    RETURN nullif(a * b, 'NaN');
EXCEPTION WHEN numeric_value_out_of_range THEN
    RETURN CASE WHEN abs(a) <= 1 OR abs(b) <= 1 THEN 0::double precision WHEN (a > 0) = (b > 0) THEN 'Infinity' ELSE '-Infinity' END::double precision;
END $$;

CREATE OR REPLACE FUNCTION cutover.wide_div(a double precision, b double precision) RETURNS double precision
LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
    RETURN nullif(a / nullif(b, 0), 'NaN');
EXCEPTION WHEN numeric_value_out_of_range THEN
    RETURN CASE WHEN abs(b) > 1 THEN 0::double precision WHEN (a > 0) = (b > 0) THEN 'Infinity' ELSE '-Infinity' END::double precision;
END $$;

CREATE OR REPLACE FUNCTION cutover.wide_plus(a double precision, b double precision) RETURNS double precision
LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
    RETURN a + b;
EXCEPTION WHEN numeric_value_out_of_range THEN
    RETURN CASE WHEN a > 0 THEN 'Infinity' ELSE '-Infinity' END::double precision;
END $$;

CREATE OR REPLACE FUNCTION cutover.no_nan(x double precision) RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN nullif(x, 'NaN');

CREATE OR REPLACE AGGREGATE cutover.wide_sum(x double precision) (
    SFUNC = cutover.wide_plus, STYPE = double precision, FINALFUNC = cutover.no_nan
);

CREATE OR REPLACE AGGREGATE cutover.wide_total(x double precision) (
    SFUNC = cutover.wide_plus, STYPE = double precision, FINALFUNC = cutover.no_nan, INITCOND = '0'
);

-- The sum, and how many they are.
CREATE OR REPLACE FUNCTION cutover.wide_step(state double precision[], x double precision) RETURNS double precision[]
LANGUAGE sql IMMUTABLE
RETURN CASE WHEN x IS NULL THEN state ELSE ARRAY[cutover.wide_plus(state[1], x), state[2] + 1] END;

CREATE OR REPLACE FUNCTION cutover.wide_mean(state double precision[]) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN nullif(state[1] / nullif(state[2], 0), 'NaN');

CREATE OR REPLACE AGGREGATE cutover.wide_avg(x double precision) (
    SFUNC = cutover.wide_step, STYPE = double precision[], FINALFUNC = cutover.wide_mean, INITCOND = '{0,0}'
);
