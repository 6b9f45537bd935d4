-- What cutover keeps in the application's database, all of it in schema cutover. Idempotent.

DO $$
BEGIN
    -- IF NOT EXISTS asks for the right to create schemas even where there is nothing to create.
    IF to_regnamespace('cutover') IS NULL THEN
        CREATE SCHEMA cutover;
    END IF;
END
$$;

-- Who is primary. One row.
CREATE TABLE IF NOT EXISTS cutover.control (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    pair_id text NOT NULL,
    primary_store text NOT NULL CHECK (primary_store IN ('sqlite', 'postgres')),
    epoch bigint NOT NULL,
    state text NOT NULL,
    switch_id text,
    generation bigint NOT NULL,
    applied_batch bigint NOT NULL,
    trimmed_batch bigint NOT NULL,
    peer_system text,
    peer_timeline integer,
    audit_sequence bigint NOT NULL,
    audit_hash text NOT NULL,
    seal text NOT NULL
);

-- Who is primary, once more, in a row that nothing but switches write. Schema changes of applications hold it until they
-- commit: the control row itself changes with each batch of the mirror, so they would meet that.
CREATE TABLE IF NOT EXISTS cutover.gate (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    primary_store text NOT NULL,
    epoch bigint NOT NULL,
    state text NOT NULL
);
CREATE OR REPLACE FUNCTION cutover.note_gate() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO cutover.gate AS gate (primary_store, epoch, state) VALUES (NEW.primary_store, NEW.epoch, NEW.state)
    ON CONFLICT (one) DO UPDATE
    SET primary_store = excluded.primary_store, epoch = excluded.epoch, state = excluded.state;
    RETURN NULL;
END
$$;
DROP TRIGGER IF EXISTS note_gate ON cutover.control;
DROP TRIGGER IF EXISTS note_first_gate ON cutover.control;
CREATE TRIGGER note_first_gate AFTER INSERT ON cutover.control FOR EACH ROW EXECUTE FUNCTION cutover.note_gate();
CREATE TRIGGER note_gate AFTER UPDATE ON cutover.control FOR EACH ROW
WHEN (row(OLD.primary_store, OLD.epoch, OLD.state) IS DISTINCT FROM row(NEW.primary_store, NEW.epoch, NEW.state))
EXECUTE FUNCTION cutover.note_gate();
ALTER TABLE cutover.control ENABLE ALWAYS TRIGGER note_first_gate, ENABLE ALWAYS TRIGGER note_gate;
INSERT INTO cutover.gate (primary_store, epoch, state) SELECT primary_store, epoch, state FROM cutover.control
ON CONFLICT DO NOTHING;

-- One row a switch that this database was to receive. Its outcome is the commit point.
CREATE TABLE IF NOT EXISTS cutover.switches (
    switch_id text PRIMARY KEY,
    outcome text NOT NULL CHECK (outcome IN ('prepared', 'committed', 'aborted')),
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Rows of the primary that this database cannot hold. The key is encoded: it may be what cannot be held.
CREATE TABLE IF NOT EXISTS cutover.quarantine (
    table_name text NOT NULL,
    key text NOT NULL,
    key_hash text GENERATED ALWAYS AS (md5(key)) STORED,
    reason text NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (table_name, key_hash)
);

-- How far the copy of each table is.
CREATE TABLE IF NOT EXISTS cutover.backfill (
    table_name text PRIMARY KEY,
    state text NOT NULL,
    after text,
    copied bigint NOT NULL,
    total bigint NOT NULL
);

-- The physical state of each captured table when its triggers were last switched. Another one means that the table
-- changed past its row triggers, and is copied again.
CREATE TABLE IF NOT EXISTS cutover.installed (
    table_id integer PRIMARY KEY,
    fingerprint text NOT NULL
);

-- The application's own machinery that would act on applied rows, put aside while this database is shadow.
CREATE TABLE IF NOT EXISTS cutover.suspended (
    kind text NOT NULL,
    relation text NOT NULL,
    name text NOT NULL,
    definition text NOT NULL,
    state text NOT NULL DEFAULT 'suspended',
    PRIMARY KEY (kind, relation, name)
);

-- Whether this transaction is the current applier's. The flag alone is not enough: any role can set it.
CREATE OR REPLACE FUNCTION cutover.applying() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM cutover.control
        WHERE generation::text = current_setting('cutover.applier', true)
    ) AND pg_has_role(
        session_user, (SELECT nspowner FROM pg_namespace WHERE nspname = 'cutover'), 'USAGE'
    );
END
$$;

-- The fence: nobody but the applier writes here while another store is primary.
CREATE OR REPLACE FUNCTION cutover.refuse() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    it record;
    here constant text := 'cutover: this PostgreSQL database takes no writes; ';
BEGIN
    IF coalesce(current_setting('cutover.applier', true), '') <> '' AND cutover.applying() THEN
        IF TG_LEVEL = 'STATEMENT' THEN
            RETURN NULL;
        ELSIF TG_OP = 'DELETE' THEN
            RETURN OLD;
        END IF;
        RETURN NEW;
    END IF;
    SELECT primary_store, epoch, state INTO it FROM cutover.control;
    IF it.primary_store = 'sqlite' AND it.state IN ('steady', 'finished') THEN
        RAISE EXCEPTION USING ERRCODE = '25006',
            MESSAGE = here || format('write to the primary, %s (epoch %s).', it.primary_store, it.epoch);
    END IF;
    RAISE EXCEPTION USING ERRCODE = '25006',
        MESSAGE = here || format('a switch from %s (epoch %s) is under way; repeat the write in a moment.',
                                 coalesce(it.primary_store, 'nobody'), coalesce(it.epoch, 0));
END
$$;

-- What was mapped the last time. One row.
CREATE TABLE IF NOT EXISTS cutover.mapping (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    record text NOT NULL
);
