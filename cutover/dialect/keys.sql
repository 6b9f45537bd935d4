-- Have a sequence go on where SQLite would: above the highest row there is, and above `given`, the highest key that
-- AUTOINCREMENT gave. Forward at any time; back only if nobody else can have drawn what it would give again: it stands
-- no further than `explained` (NULL: not known), or at its end, and no transaction is open that draws from it or writes the table.
-- The table is locked for that moment, in a subtransaction that is undone; what `setval` does is not. Where a vacuum
-- keeps the table, which no lock against writers goes with, the sequence itself is locked until the transaction ends.
-- Answers where the sequence stands, NULL if it has to be tried again; and whether others have drawn from it.
CREATE OR REPLACE FUNCTION cutover.settle(
    sequence text, relation text, key text, given bigint, explained bigint, OUT stands bigint, OUT by_others boolean)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    rules pg_sequence;
    base bigint;
    top bigint;
    patience text := current_setting('lock_timeout');
    lowest CONSTANT bigint := -9223372036854775808;
    done boolean := false;
    highest text := format('SELECT max(%1$s) FROM %2$s WHERE %1$s <= $1', key, relation);
    locks text := 'EXISTS (SELECT FROM pg_locks WHERE locktype = ''relation'' AND relation = %L::regclass '
        'AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) '
        'AND pid IS DISTINCT FROM pg_backend_pid() AND mode = %L)';
    vacuumed boolean;
    busy boolean;
    moves boolean;
BEGIN
    SELECT * INTO rules FROM pg_sequence WHERE seqrelid = sequence::regclass;
    IF current_setting('transaction_read_only')::boolean THEN
        RETURN;
    END IF;
    base := greatest(rules.seqmin, 1) - 1;
    by_others := false;
    stands := coalesce(pg_sequence_last_value(sequence::regclass), base);
    IF rules.seqincrement <> 1 OR rules.seqcache <> 1 THEN
        RETURN;
    END IF;
    EXECUTE highest INTO top USING rules.seqmax - 1;
    IF stands >= rules.seqmax AND top = rules.seqmax - 1 THEN
        EXECUTE highest INTO top USING rules.seqmax; -- if that is there, nothing is left
    END IF;
    top := coalesce(greatest(top, given), base);
    IF top >= 0 OR rules.seqmin > 1 THEN
        top := greatest(top, base);
    END IF;
    IF top > stands THEN
        PERFORM cutover.advance(sequence, top);
        stands := pg_sequence_last_value(sequence::regclass);
        RETURN;
    END IF;
    IF stands >= rules.seqmax AND explained >= 0 THEN
        explained := stands; -- whoever drew the last key: there is none behind it that could be given again
    END IF;
    by_others := coalesce(stands > explained, false);
    IF top = stands OR by_others THEN
        RETURN;
    END IF;
    IF rules.seqmin > top + 1 THEN -- all keys are below zero, which SQLite goes on from
        BEGIN
            PERFORM set_config('lock_timeout', '200ms', true);
            EXECUTE format('ALTER SEQUENCE %s MINVALUE %s', sequence, lowest);
            EXECUTE highest INTO top USING rules.seqmax - 1;
            top := coalesce(greatest(top, given), base);
            rules.seqmin := lowest;
            PERFORM set_config('lock_timeout', patience, true);
        EXCEPTION
            WHEN lock_not_available THEN
                stands := NULL;
                RETURN;
            WHEN insufficient_privilege THEN
                RETURN;
        END;
    END IF;
    IF EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'relation' AND l.relation = sequence::regclass
        AND l.pid = pg_backend_pid() AND l.mode = 'ShareRowExclusiveLock') -- set anew in this transaction, for it alone
    THEN
        PERFORM setval(sequence::regclass, greatest(top, rules.seqmin), top >= rules.seqmin);
        stands := top;
        RETURN;
    END IF;
    FOR way IN 1 .. 2 LOOP
        EXECUTE format('SELECT ' || locks, relation, 'ShareUpdateExclusiveLock') INTO vacuumed;
        EXIT WHEN way = 2 AND NOT vacuumed;
        BEGIN
            PERFORM set_config('lock_timeout', CASE WHEN vacuumed AND way = 1 THEN '50ms' ELSE '2ms' END, true);
            IF way = 1 THEN
                EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', relation);
                EXECUTE format('SELECT ' || locks, sequence, 'RowExclusiveLock') INTO busy;
            ELSE
                EXECUTE format('ALTER SEQUENCE %s MINVALUE %s', sequence, rules.seqmin); -- which changes nothing else
                busy := false;
            END IF;
            EXECUTE highest INTO top USING rules.seqmax - 1;
            top := coalesce(greatest(top, given), base);
            IF top >= 0 THEN
                top := greatest(top, base);
            END IF;
            stands := pg_sequence_last_value(sequence::regclass);
            moves := NOT busy AND stands <= coalesce(explained, stands) AND top < stands;
            IF moves THEN
                PERFORM setval(sequence::regclass, greatest(top, rules.seqmin), top >= rules.seqmin);
                stands := top;
            END IF;
            done := NOT busy;
            IF way = 1 OR NOT moves THEN
                RAISE EXCEPTION USING ERRCODE = 'CUT00';
            END IF;
            PERFORM set_config('lock_timeout', patience, true);
        EXCEPTION
            WHEN SQLSTATE 'CUT00' OR lock_not_available THEN
                NULL;
            WHEN insufficient_privilege THEN -- no better the next time
                done := true;
        END;
        EXIT WHEN done;
    END LOOP;
    IF NOT done THEN
        stands := NULL;
    END IF;
END $$;

-- Move a sequence past the highest row there is, the one at its end excepted. Where it stood; and where it stands now,
-- NULL if it has not moved.
CREATE OR REPLACE FUNCTION cutover.pass_rows(sequence text, OUT stood bigint, OUT stands bigint) LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    highest text;
    top bigint;
BEGIN
    SELECT format('SELECT max(%1$I) FROM %2$s WHERE %1$I <= $1', a.attname, d.refobjid::regclass) INTO highest
    FROM pg_depend d JOIN pg_attribute a ON (a.attrelid, a.attnum) = (d.refobjid, d.refobjsubid)
    WHERE d.classid = 'pg_class'::regclass AND d.objid = sequence::regclass
        AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i');
    IF highest IS NULL THEN
        RETURN;
    END IF;
    EXECUTE highest INTO top USING (SELECT seqmax - 1 FROM pg_sequence WHERE seqrelid = sequence::regclass);
    stood := pg_sequence_last_value(sequence::regclass);
    IF top > coalesce(stood, 0) THEN
        PERFORM cutover.advance(sequence, top);
        stands := pg_sequence_last_value(sequence::regclass);
    END IF;
END $$;

-- As `settle`, in a transaction that does not see all rows there are. Back only where that is known to do no harm: it
-- holds the table or the sequence for itself, or `top`, the highest row it sees, is where the sequence stands. Otherwise
-- nothing is done, and `reader` is who has to ask `unseen` on another connection.
CREATE OR REPLACE FUNCTION cutover.settle_seen(
    sequence text, relation text, key text, given bigint, explained bigint,
    OUT stands bigint, OUT by_others boolean, OUT top bigint, OUT reader integer)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    last CONSTANT bigint := pg_sequence_last_value(sequence::regclass);
    its_table CONSTANT oid := relation::regclass;
BEGIN
    IF last IS NOT NULL AND NOT EXISTS (
        SELECT FROM pg_locks l WHERE l.locktype = 'relation' AND l.pid = pg_backend_pid()
            AND (l.relation, l.mode)
                IN ((sequence::regclass, 'ShareRowExclusiveLock'), (its_table, 'AccessExclusiveLock')))
    THEN
        EXECUTE format('SELECT max(%1$s) FROM %2$s WHERE %1$s <= $1', key, relation) INTO top USING last;
        IF coalesce(greatest(top, given) < last, true) THEN
            reader := pg_backend_pid();
            RETURN;
        END IF;
        explained := least(explained, last); -- what others draw from here on
    END IF;
    SELECT s.stands, s.by_others INTO stands, by_others FROM cutover.settle(sequence, relation, key, given, explained) s;
END $$;

-- What a transaction does not see of a table, asked outside of it: `highest`, the highest key above `top`, up to where
-- the sequence stands, of a row that is there though `reader`, who has the transaction, has not taken it away. `stands`
-- is NULL while somebody else who has drawn may still store it.
CREATE OR REPLACE FUNCTION cutover.unseen(
    sequence text, relation text, key text, top bigint, reader integer, OUT stands bigint, OUT highest bigint)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM set_config('lock_timeout', '50ms', true); -- of the transaction, which is over behind this
    stands := pg_sequence_last_value(sequence::regclass);
    IF EXISTS (
        SELECT FROM pg_locks l WHERE l.locktype = 'relation' AND l.relation = sequence::regclass
            AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND l.pid IS DISTINCT FROM pg_backend_pid() AND l.pid IS DISTINCT FROM reader
            AND l.mode = 'RowExclusiveLock')
    THEN
        stands := NULL;
        RETURN;
    END IF;
    EXECUTE format(
        'SELECT %1$s FROM %2$s WHERE ($1 IS NULL OR %1$s > $1) AND %1$s <= $2 '
        'ORDER BY %1$s DESC LIMIT 1 FOR KEY SHARE SKIP LOCKED', key, relation) -- skips what is being taken away
        INTO highest USING top, stands;
END $$;
