-- When nodes were there: what the ledger's capacity facts are made of, hour by hour.

-- A stretch of time in which a node was connected and took work. It grows while the node stays, and is forgotten some time after
-- all of it was reported to the ledger.
CREATE TABLE broker.presences (
  node_id uuid NOT NULL,
  provider_id uuid NOT NULL,
  from_at timestamptz NOT NULL,
  to_at timestamptz NOT NULL,
  -- The whole node's nominal capacity, in thousandths of the reference unit.
  rcu_milli integer NOT NULL CHECK (rcu_milli >= 1),
  -- The models that it served, each with its millionths of the node: [["spark-1", 1000000]].
  shares jsonb NOT NULL,
  -- Up to where the ledger has it.
  reported_to timestamptz NOT NULL,
  PRIMARY KEY (node_id, from_at),
  CHECK (from_at < to_at),
  CHECK (reported_to BETWEEN from_at AND to_at)
-- Every row that runs is written every few seconds.
) WITH (fillfactor = 50);

GRANT SELECT, INSERT, UPDATE, DELETE ON broker.presences TO tokengrid_service;
