-- Codes that prove an address: for a sign-up that is not an account yet, and for a forgotten password.
CREATE TABLE api.email_challenges (
    id uuid PRIMARY KEY,
    email text NOT NULL CHECK (email = lower(email) AND length(email) BETWEEN 3 AND 254),
    -- HMAC-SHA-256 of the code under the control plane's secret; null where none was sent, which no answer tells.
    code_mac bytea CHECK (length(code_mac) = 32),
    attempts_left smallint NOT NULL CHECK (attempts_left >= 0),
    -- The account that a sign-up is to become; null for a forgotten password.
    password_hash text CHECK (password_hash LIKE '$argon2id$%'),
    tenant_name text CHECK (length(tenant_name) BETWEEN 1 AND 100),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL CHECK (expires_at > created_at),
    used_at timestamptz,
    CHECK ((password_hash IS NULL) = (tenant_name IS NULL))
);
CREATE INDEX email_challenges_over ON api.email_challenges (expires_at);

-- What a tenant used from one day to another.
CREATE INDEX jobs_ended ON broker.jobs (tenant_id, ended_at) WHERE ended_at IS NOT NULL;
