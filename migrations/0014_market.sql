-- The market: how a provider's node comes to work, what its cells are certified for, and what it earns.

-- A node's way: joined, certified (a cell of it holds a grade), probation (a small part of the work), active.
ALTER TABLE broker.nodes DROP CONSTRAINT nodes_status_check;
ALTER TABLE broker.nodes
  ADD CONSTRAINT nodes_status_check
    CHECK (status IN ('joined', 'certified', 'probation', 'active', 'suspended', 'retired')),
  -- What its provider or an operator calls it, whatever it calls itself.
  ADD COLUMN given_name text CHECK (length(given_name) BETWEEN 1 AND 100),
  ADD COLUMN probation_from timestamptz,
  -- Its earnings before this are kept back for a time; those of a node of before probation began never were.
  ADD COLUMN probation_to timestamptz CHECK (probation_to >= probation_from),
  -- When its provider last asked it to drain: a connection that began earlier takes no more work.
  ADD COLUMN drained_at timestamptz;

-- What became of a node and why.
CREATE TABLE broker.node_events (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  node_id uuid NOT NULL REFERENCES broker.nodes,
  status text NOT NULL
    CHECK (status IN ('joined', 'certified', 'probation', 'active', 'suspended', 'retired')),
  reason text NOT NULL CHECK (reason <> ''),
  -- Who did it; nobody where a rule did.
  user_id uuid,
  at timestamptz NOT NULL
);
CREATE INDEX node_events_of_node ON broker.node_events (node_id, id);
CREATE TRIGGER node_events_append_only BEFORE UPDATE OR DELETE ON broker.node_events
  FOR EACH ROW EXECUTE FUNCTION broker.refuse_change();

ALTER TABLE broker.join_tokens
  -- The secret's last four characters, for people to tell tokens apart.
  ADD COLUMN hint text CHECK (length(hint) = 4),
  ADD COLUMN revoked_at timestamptz,
  ADD CONSTRAINT join_tokens_used_or_revoked CHECK (used_at IS NULL OR revoked_at IS NULL);

-- What a request gets that names no grade.
ALTER TABLE broker.models
  ADD COLUMN grade_default text NOT NULL DEFAULT 'exact' CHECK (grade_default IN ('eco', 'near', 'exact'));

-- The least grade that a job takes, and the grade of the cell that each lease went to.
ALTER TABLE broker.jobs
  ADD COLUMN grade text NOT NULL DEFAULT 'exact' CHECK (grade IN ('eco', 'near', 'exact'));
ALTER TABLE broker.leases
  ADD COLUMN grade text CHECK (grade IN ('eco', 'near', 'exact'));

-- Certificates of alignment, as they came: the signature covers the document's body.
CREATE TABLE broker.certificates (
  id uuid PRIMARY KEY,
  document text NOT NULL,
  public_key bytea NOT NULL CHECK (octet_length(public_key) = 32),
  signature bytea NOT NULL CONSTRAINT certificates_signature_unique UNIQUE CHECK (octet_length(signature) = 64),
  -- Ours, from the document's counts.
  grade text NOT NULL CHECK (grade IN ('none', 'eco', 'near', 'exact')),
  issued_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL CHECK (expires_at > issued_at),
  -- The node that brought it, or the operator who did.
  node_id uuid REFERENCES broker.nodes,
  user_id uuid,
  added_at timestamptz NOT NULL,
  CHECK ((node_id IS NULL) <> (user_id IS NULL))
);
CREATE TRIGGER certificates_append_only BEFORE UPDATE OR DELETE ON broker.certificates
  FOR EACH ROW EXECUTE FUNCTION broker.refuse_change();

-- What can serve a model: its weights as an engine of a version runs them on a chip.
CREATE TABLE broker.cells (
  id uuid PRIMARY KEY,
  model text NOT NULL REFERENCES broker.models,
  -- The model's weights that it is compared with.
  reference_sha256 text NOT NULL CHECK (reference_sha256 ~ '^[0-9a-f]{64}$'),
  weights_sha256 text NOT NULL CHECK (weights_sha256 ~ '^[0-9a-f]{64}$'),
  quantisation text NOT NULL,
  engine text NOT NULL,
  chip text NOT NULL,
  -- What of the chip the engine uses, sorted.
  features text[] NOT NULL,
  -- Whose nodes alone it is good for: who measured it is who earns by it. Nobody's where it is everybody's.
  provider_id uuid REFERENCES broker.providers,
  state text NOT NULL CHECK (state IN ('unsupported', 'built', 'certified', 'suspended')),
  reason text NOT NULL CHECK (reason <> ''),
  grade text CHECK (grade IN ('eco', 'near', 'exact')),
  certificate_id uuid REFERENCES broker.certificates,
  -- Until when the grade holds; for ever where it follows from the definition of the reference.
  expires_at timestamptz,
  created_at timestamptz NOT NULL,
  changed_at timestamptz NOT NULL CHECK (changed_at >= created_at),
  CONSTRAINT cells_key UNIQUE NULLS NOT DISTINCT
    (provider_id, model, reference_sha256, weights_sha256, quantisation, engine, chip, features),
  CHECK (state <> 'certified' OR grade IS NOT NULL)
);

CREATE TABLE broker.cell_events (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  cell_id uuid NOT NULL REFERENCES broker.cells,
  state text NOT NULL CHECK (state IN ('unsupported', 'built', 'certified', 'suspended')),
  grade text CHECK (grade IN ('eco', 'near', 'exact')),
  reason text NOT NULL CHECK (reason <> ''),
  user_id uuid,
  at timestamptz NOT NULL
);
CREATE INDEX cell_events_of_cell ON broker.cell_events (cell_id, id);
CREATE TRIGGER cell_events_append_only BEFORE UPDATE OR DELETE ON broker.cell_events
  FOR EACH ROW EXECUTE FUNCTION broker.refuse_change();

-- The cell that a node is, for each model that it serves or served last.
CREATE TABLE broker.node_cells (
  node_id uuid NOT NULL REFERENCES broker.nodes,
  model text NOT NULL REFERENCES broker.models,
  cell_id uuid NOT NULL REFERENCES broker.cells,
  seen_at timestamptz NOT NULL,
  PRIMARY KEY (node_id, model)
);
CREATE INDEX node_cells_of_cell ON broker.node_cells (cell_id, node_id);

-- What moved providers' money, by day: the ledger's own transfers over what they are owed, added up once each, in order.
CREATE TABLE broker.provider_days (
  provider_id uuid NOT NULL,
  currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  day date NOT NULL,
  -- The node that earned it; nil for what is no node's, such as a payout.
  node_id uuid NOT NULL,
  -- The business event, such as job_settle.
  recipe text NOT NULL,
  -- Below zero where less is owed after it.
  change_nanos bigint NOT NULL,
  transfers_count bigint NOT NULL CHECK (transfers_count > 0),
  PRIMARY KEY (provider_id, currency, day, node_id, recipe)
);

-- Up to where the ledger's transfers are in provider_days.
CREATE TABLE broker.provider_days_read (
  shard smallint PRIMARY KEY,
  seq bigint NOT NULL
);

-- A new node's earnings, kept back for a time.
CREATE TABLE broker.holdbacks (
  reserve_id uuid PRIMARY KEY,
  provider_id uuid NOT NULL,
  node_id uuid NOT NULL REFERENCES broker.nodes,
  currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  amount_nanos bigint NOT NULL CHECK (amount_nanos > 0),
  -- The last transfer that it is made of; each is in one holdback.
  seq_to bigint NOT NULL,
  release_at timestamptz NOT NULL,
  state text NOT NULL CHECK (state IN ('due', 'reserved', 'released', 'refused')),
  created_at timestamptz NOT NULL,
  changed_at timestamptz NOT NULL CHECK (changed_at >= created_at),
  CONSTRAINT holdbacks_once UNIQUE (node_id, currency, seq_to)
);
CREATE INDEX holdbacks_open ON broker.holdbacks (release_at) WHERE state IN ('due', 'reserved');
CREATE INDEX holdbacks_of_provider ON broker.holdbacks (provider_id, release_at);

GRANT SELECT, INSERT ON broker.node_events, broker.certificates, broker.cell_events TO tokengrid_service;
GRANT SELECT, INSERT, UPDATE ON
  broker.cells, broker.node_cells, broker.provider_days, broker.provider_days_read, broker.holdbacks
TO tokengrid_service;
