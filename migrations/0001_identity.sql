-- Who is asking: tenants, people, projects, keys and sessions. Owned by the room `api`.
CREATE SCHEMA api;

CREATE TABLE api.tenants (
    id uuid PRIMARY KEY,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    created_at timestamptz NOT NULL,
    -- The sign-up credit that the tenant was promised; the ledger's grant follows, and `credited_at` says that it did.
    signup_credit_nanos bigint NOT NULL CHECK (signup_credit_nanos >= 0),
    signup_credit_expires_at timestamptz NOT NULL,
    credited_at timestamptz
);
CREATE INDEX tenants_to_credit ON api.tenants (id) WHERE credited_at IS NULL;

CREATE TABLE api.users (
    id uuid PRIMARY KEY,
    -- Kept in lower case, so that one person is one row.
    email text NOT NULL UNIQUE CHECK (email = lower(email) AND length(email) BETWEEN 3 AND 254),
    -- An Argon2id hash in PHC form; never the password.
    password_hash text NOT NULL CHECK (password_hash LIKE '$argon2id$%'),
    created_at timestamptz NOT NULL
);

-- What a person may do, and for whom: a tenant, a provider, or the platform itself (both null).
CREATE TABLE api.roles (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES api.users,
    tenant_id uuid REFERENCES api.tenants,
    provider_id uuid,
    role text NOT NULL CHECK (role IN ('owner', 'operator')),
    CHECK (tenant_id IS NULL OR provider_id IS NULL),
    CHECK ((role = 'operator') = (tenant_id IS NULL AND provider_id IS NULL)),
    UNIQUE NULLS NOT DISTINCT (user_id, tenant_id, provider_id)
);
CREATE INDEX roles_by_tenant ON api.roles (tenant_id);

CREATE TABLE api.projects (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES api.tenants,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    created_at timestamptz NOT NULL,
    UNIQUE (tenant_id, name),
    UNIQUE (tenant_id, id)
);

CREATE TABLE api.api_keys (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES api.tenants,
    project_id uuid NOT NULL,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    -- SHA-256 of the secret, which has 256 random bits and so needs no slow hash.
    secret_sha256 bytea NOT NULL UNIQUE CHECK (length(secret_sha256) = 32),
    -- The secret's last four characters, for people to tell keys apart.
    hint text NOT NULL CHECK (length(hint) = 4),
    created_by uuid NOT NULL REFERENCES api.users,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    FOREIGN KEY (tenant_id, project_id) REFERENCES api.projects (tenant_id, id)
);
CREATE INDEX api_keys_by_tenant ON api.api_keys (tenant_id, id);

CREATE TABLE api.sessions (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES api.users,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL CHECK (expires_at > created_at),
    revoked_at timestamptz
);
CREATE INDEX sessions_by_user ON api.sessions (user_id);
