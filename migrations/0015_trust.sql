-- Trust: what a node claims is signed, what it delivers is audited, and what an audit finds has consequences by rule.

-- What the node said of itself at its last visit, with its signature over that and the visit's nonce; the nodes of before have none.
ALTER TABLE broker.nodes ADD COLUMN statement jsonb;

-- What replaying a lease's output found. Of prompt and output only digests are kept.
CREATE TABLE broker.audits (
  job_id uuid NOT NULL,
  epoch bigint NOT NULL,
  node_id uuid NOT NULL REFERENCES broker.nodes,
  -- Who replayed it.
  referee_id uuid NOT NULL REFERENCES broker.nodes,
  model text NOT NULL REFERENCES broker.models,
  prompt_tokens bigint NOT NULL CHECK (prompt_tokens > 0),
  prompt_sha256 text NOT NULL CHECK (prompt_sha256 ~ '^[0-9a-f]{64}$'),
  output_sha256 text NOT NULL CHECK (output_sha256 ~ '^[0-9a-f]{64}$'),
  sampling jsonb NOT NULL,
  -- How far the model was from drawing each token that was a choice, the first ones. Unit: probability.
  slacks real[] NOT NULL CHECK (cardinality(slacks) BETWEEN 1 AND 300),
  audited_at timestamptz NOT NULL,
  -- When it was part of a judgement; those that are not wait for more.
  judged_at timestamptz CHECK (judged_at >= audited_at),
  PRIMARY KEY (job_id, epoch),
  FOREIGN KEY (job_id, epoch) REFERENCES broker.leases,
  CHECK (referee_id <> node_id)
);
CREATE INDEX audits_open ON broker.audits (node_id, model, audited_at) WHERE judged_at IS NULL;
CREATE INDEX audits_of_node ON broker.audits (node_id, audited_at);

-- A node that was found to run another model than it says, and what became of it.
CREATE TABLE broker.convictions (
  id uuid PRIMARY KEY,
  node_id uuid NOT NULL REFERENCES broker.nodes,
  provider_id uuid NOT NULL REFERENCES broker.providers,
  model text NOT NULL REFERENCES broker.models,
  reason text NOT NULL CHECK (reason <> ''),
  -- What it rests on, for whoever checks it.
  evidence jsonb NOT NULL,
  state text NOT NULL CHECK (state IN ('open', 'appealed', 'upheld', 'overturned')),
  convicted_at timestamptz NOT NULL,
  -- Until when the provider may appeal.
  appeal_until timestamptz NOT NULL CHECK (appeal_until >= convicted_at),
  appeal text CHECK (length(appeal) BETWEEN 1 AND 2000),
  appealed_at timestamptz,
  -- Why it was upheld or overturned; an operator's word, or the rule's where nobody appealed.
  decision text CHECK (decision <> ''),
  decided_at timestamptz,
  decided_by uuid,
  CHECK ((appeal IS NULL) = (appealed_at IS NULL)),
  CHECK ((state IN ('upheld', 'overturned')) = (decided_at IS NOT NULL)),
  CHECK ((decided_at IS NULL) = (decision IS NULL)),
  CHECK (state <> 'appealed' OR appeal IS NOT NULL)
);
CREATE INDEX convictions_of_node ON broker.convictions (node_id, state);
CREATE INDEX convictions_of_provider ON broker.convictions (provider_id, id);
CREATE INDEX convictions_open ON broker.convictions (appeal_until) WHERE state = 'open';

-- What was kept back of a node that was convicted for good is not given back.
ALTER TABLE broker.holdbacks DROP CONSTRAINT holdbacks_state_check;
ALTER TABLE broker.holdbacks ADD CONSTRAINT holdbacks_state_check
  CHECK (state IN ('due', 'reserved', 'released', 'refused', 'forfeited'));
CREATE INDEX holdbacks_of_node ON broker.holdbacks (node_id) WHERE state = 'reserved';

INSERT INTO ledger.recipes (number, recipe) VALUES (95, 'earning_forfeit');

GRANT SELECT, INSERT, UPDATE ON broker.audits, broker.convictions TO tokengrid_service;
