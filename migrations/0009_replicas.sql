-- Replicas of the control plane, any of which may own the ledger's writer. docs/decisions/0013 says how it moves.

-- A replica is registered at its start and beats while it lives; `beats` tells the others that it does, the instants tell people.
-- While it lives it holds the advisory lock of its number as well, so that its end is seen at once.
CREATE TABLE ledger.replicas (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- Where the others reach it.
    address text NOT NULL CHECK (length(address) BETWEEN 1 AND 300),
    started_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL CHECK (seen_at >= started_at),
    beats bigint NOT NULL DEFAULT 0,
    -- When it was declared gone, for good: one that comes back is another.
    gone_at timestamptz CHECK (gone_at >= started_at)
);
CREATE INDEX replicas_living ON ledger.replicas (id) WHERE gone_at IS NULL;

CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON ledger.replicas
FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

-- Whose writer raised the epoch last; none for one that serves nobody else.
ALTER TABLE ledger.shards ADD COLUMN owner_id integer REFERENCES ledger.replicas;

-- Registers a replica, and tells its number.
CREATE FUNCTION ledger.join_replica(at_address text, at timestamptz) RETURNS integer
LANGUAGE sql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO ledger.replicas (address, started_at, seen_at) VALUES (at_address, at, at) RETURNING id
$$;

-- Says that a replica lives; false for one that was declared gone.
CREATE FUNCTION ledger.beat(replica integer, at timestamptz) RETURNS boolean
LANGUAGE sql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    WITH beaten AS (
        UPDATE ledger.replicas SET beats = beats + 1, seen_at = greatest(seen_at, at)
        WHERE id = replica AND gone_at IS NULL
        RETURNING 1
    )
    SELECT EXISTS (SELECT FROM beaten)
$$;

-- Declares a replica gone, once; false for one that was before.
CREATE FUNCTION ledger.bury(replica integer, at timestamptz) RETURNS boolean
LANGUAGE sql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    WITH buried AS (
        UPDATE ledger.replicas SET gone_at = greatest(started_at, at)
        WHERE id = replica AND gone_at IS NULL
        RETURNING 1
    )
    SELECT EXISTS (SELECT FROM buried)
$$;

-- Takes the place of 0008's: fences every earlier writer of a shard off, says whose the next one is, and tells the new epoch; none
-- where there is no such shard. An epoch only rises.
DROP FUNCTION ledger.raise_epoch(smallint);
CREATE FUNCTION ledger.raise_epoch(of_shard smallint, new_owner integer) RETURNS bigint
LANGUAGE sql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE ledger.shards SET epoch = epoch + 1, owner_id = new_owner WHERE shard = of_shard RETURNING epoch
$$;

REVOKE ALL ON ledger.replicas FROM PUBLIC;
REVOKE ALL ON FUNCTION ledger.join_replica, ledger.beat, ledger.bury, ledger.raise_epoch FROM PUBLIC;
GRANT SELECT ON ledger.replicas TO tokengrid_service;
GRANT EXECUTE ON FUNCTION ledger.join_replica, ledger.beat, ledger.bury, ledger.raise_epoch TO tokengrid_service;

-- Who runs a job: what a replica that is gone left unfinished, the living ones end. 0 for jobs of earlier releases.
ALTER TABLE broker.jobs ADD COLUMN replica_id integer NOT NULL DEFAULT 0;
ALTER TABLE broker.jobs ALTER COLUMN replica_id DROP DEFAULT;
CREATE INDEX jobs_unfinished_of_replica ON broker.jobs (replica_id, job_id) WHERE ended_at IS NULL;
