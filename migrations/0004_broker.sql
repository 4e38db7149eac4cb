-- Who does the work: providers, nodes, asks, the catalogue of models, jobs and their leases.
CREATE SCHEMA broker;

-- Rows that are facts: written once.
CREATE FUNCTION broker.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '%.% is append-only', TG_TABLE_SCHEMA, TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;

-- Ends that are final.
CREATE FUNCTION broker.refuse_second_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'a row of %.% that ended does not change', TG_TABLE_SCHEMA, TG_TABLE_NAME
    USING ERRCODE = 'restrict_violation';
END $$;

CREATE TABLE broker.providers (
  id uuid PRIMARY KEY,
  name text NOT NULL CHECK (name <> ''),
  created_at timestamptz NOT NULL
);

CREATE TABLE broker.nodes (
  id uuid PRIMARY KEY,
  provider_id uuid NOT NULL REFERENCES broker.providers,
  name text NOT NULL,
  public_key bytea NOT NULL CONSTRAINT nodes_public_key_unique UNIQUE CHECK (octet_length(public_key) = 32),
  tier text NOT NULL CHECK (tier IN ('cloud', 'edge', 'terminal')),
  status text NOT NULL CHECK (status IN ('active', 'suspended')),
  descriptor jsonb NOT NULL,
  joined_at timestamptz NOT NULL,
  last_seen_at timestamptz NOT NULL CHECK (last_seen_at >= joined_at)
);
CREATE INDEX nodes_of_provider ON broker.nodes (provider_id, id);

CREATE TABLE broker.join_tokens (
  id uuid PRIMARY KEY,
  provider_id uuid NOT NULL REFERENCES broker.providers,
  secret_hash bytea NOT NULL UNIQUE CHECK (octet_length(secret_hash) = 32),
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL CHECK (expires_at > created_at),
  used_at timestamptz,
  -- The node's row follows in the same transaction.
  used_by_node_id uuid REFERENCES broker.nodes DEFERRABLE INITIALLY DEFERRED,
  CHECK ((used_at IS NULL) = (used_by_node_id IS NULL))
);
CREATE INDEX join_tokens_of_provider ON broker.join_tokens (provider_id, id);
CREATE TRIGGER join_tokens_used_once BEFORE UPDATE ON broker.join_tokens
  FOR EACH ROW WHEN (OLD.used_at IS NOT NULL) EXECUTE FUNCTION broker.refuse_second_end();

CREATE TABLE broker.models (
  id text PRIMARY KEY CHECK (id <> ''),
  name text NOT NULL,
  revision text NOT NULL,
  context_tokens bigint NOT NULL CHECK (context_tokens > 0),
  weights_sha256 text NOT NULL CHECK (weights_sha256 ~ '^[0-9a-f]{64}$'),
  tokenizer text NOT NULL,
  chat_template text NOT NULL,
  eos_token_ids bigint[] NOT NULL,
  output_tokens_default bigint NOT NULL CHECK (output_tokens_default > 0),
  output_tokens_max bigint NOT NULL CHECK (output_tokens_max >= output_tokens_default),
  created_at timestamptz NOT NULL
);

CREATE TABLE broker.asks (
  id uuid PRIMARY KEY,
  node_id uuid NOT NULL REFERENCES broker.nodes,
  model text NOT NULL,
  currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  input_atto numeric(28, 0) NOT NULL CHECK (input_atto BETWEEN 0 AND 1000000000000000000),
  output_atto numeric(28, 0) NOT NULL CHECK (output_atto BETWEEN 0 AND 1000000000000000000),
  valid_from timestamptz NOT NULL
);
CREATE INDEX asks_in_force ON broker.asks (node_id, model, valid_from DESC, id DESC);
CREATE TRIGGER asks_append_only BEFORE UPDATE OR DELETE ON broker.asks
  FOR EACH ROW EXECUTE FUNCTION broker.refuse_change();

CREATE TABLE broker.jobs (
  job_id uuid PRIMARY KEY,
  tenant_id uuid NOT NULL,
  project_id uuid NOT NULL,
  api_key_id uuid,
  user_id uuid,
  model text NOT NULL,
  class text NOT NULL CHECK (class IN ('interactive', 'batch')),
  status text NOT NULL CHECK (status IN ('admitted', 'streaming', 'done', 'failed', 'cancelled', 'voided')),
  idempotency_key text CHECK (length(idempotency_key) BETWEEN 1 AND 255),
  body_sha256 bytea NOT NULL CHECK (octet_length(body_sha256) = 32),
  prompt_tokens bigint NOT NULL CHECK (prompt_tokens >= 0),
  output_tokens_max bigint NOT NULL CHECK (output_tokens_max >= 0),
  output_tokens bigint CHECK (output_tokens BETWEEN 0 AND output_tokens_max),
  finish_reason text CHECK (finish_reason IN ('stop', 'length', 'cancelled')),
  error_code text,
  input_price_id uuid NOT NULL,
  output_price_id uuid NOT NULL,
  currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  hold_nanos bigint NOT NULL CHECK (hold_nanos >= 0),
  charge_nanos bigint CHECK (charge_nanos BETWEEN 0 AND hold_nanos),
  received_at timestamptz NOT NULL,
  first_token_at timestamptz,
  ended_at timestamptz,
  CONSTRAINT jobs_idempotency_key_unique UNIQUE (tenant_id, idempotency_key),
  CHECK ((ended_at IS NULL) = (status IN ('admitted', 'streaming'))),
  CHECK ((ended_at IS NULL) = (output_tokens IS NULL)),
  CHECK ((ended_at IS NULL) = (charge_nanos IS NULL))
);
CREATE INDEX jobs_of_tenant ON broker.jobs (tenant_id, job_id);
CREATE INDEX jobs_unfinished ON broker.jobs (job_id) WHERE ended_at IS NULL;
CREATE TRIGGER jobs_end_once BEFORE UPDATE ON broker.jobs
  FOR EACH ROW WHEN (OLD.ended_at IS NOT NULL) EXECUTE FUNCTION broker.refuse_second_end();

-- A lease's epoch is its fencing token: inserting the next one is what takes a job from whoever had it.
CREATE TABLE broker.leases (
  job_id uuid NOT NULL,
  epoch bigint NOT NULL CHECK (epoch > 0),
  node_id uuid NOT NULL,
  provider_id uuid NOT NULL,
  granted_at timestamptz NOT NULL,
  ended_at timestamptz,
  outcome text CHECK (outcome IN ('done', 'cut', 'cancelled', 'failed', 'broken', 'stalled', 'lost', 'abandoned')),
  output_tokens bigint CHECK (output_tokens >= 0),
  PRIMARY KEY (job_id, epoch),
  CHECK ((ended_at IS NULL) = (outcome IS NULL)),
  CHECK ((ended_at IS NULL) = (output_tokens IS NULL))
);
CREATE INDEX leases_of_node ON broker.leases (node_id, granted_at);
CREATE INDEX leases_open ON broker.leases (granted_at) WHERE ended_at IS NULL;
CREATE TRIGGER leases_end_once BEFORE UPDATE ON broker.leases
  FOR EACH ROW WHEN (OLD.ended_at IS NOT NULL) EXECUTE FUNCTION broker.refuse_second_end();

-- What nodes said of their work, kept as evidence; `mismatch` tells where it differs from what was delivered.
CREATE TABLE broker.receipts (
  job_id uuid NOT NULL,
  epoch bigint NOT NULL,
  node_id uuid NOT NULL,
  receipt jsonb NOT NULL,
  mismatch text,
  received_at timestamptz NOT NULL,
  PRIMARY KEY (job_id, epoch),
  FOREIGN KEY (job_id, epoch) REFERENCES broker.leases
);
CREATE INDEX receipts_mismatched ON broker.receipts (node_id, received_at) WHERE mismatch IS NOT NULL;
CREATE TRIGGER receipts_append_only BEFORE UPDATE OR DELETE ON broker.receipts
  FOR EACH ROW EXECUTE FUNCTION broker.refuse_change();
