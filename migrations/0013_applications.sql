-- What applications need: several choices of one request, a price for cached input, reasoning told apart, embeddings.

-- docs/decisions/0018 says what is cached input. An embedding is paid by what it reads alone.
ALTER TABLE billing.prices DROP CONSTRAINT prices_meter_check;
ALTER TABLE billing.prices ADD CONSTRAINT prices_meter_check
  CHECK (meter IN ('input', 'cached_input', 'output', 'embedding'));

ALTER TABLE broker.jobs
  -- The first choice of the request that this job is another choice of: the prompt is charged there.
  ADD COLUMN first_job_id uuid REFERENCES broker.jobs,
  -- The price of cached input, where one was in force.
  ADD COLUMN cached_input_price_id uuid,
  -- Of the prompt's tokens, how many a cache held, once ended; none in jobs of earlier releases.
  ADD COLUMN cached_tokens bigint CHECK (cached_tokens BETWEEN 0 AND prompt_tokens);
CREATE INDEX jobs_of_request ON broker.jobs (first_job_id, job_id) WHERE first_job_id IS NOT NULL;
-- An embedding has no output.
ALTER TABLE broker.jobs ALTER COLUMN output_price_id DROP NOT NULL;

ALTER TABLE broker.models
  ADD COLUMN kind text NOT NULL DEFAULT 'generation' CHECK (kind IN ('generation', 'embedding')),
  -- Between what texts the model thinks; none when it does not.
  ADD COLUMN reasoning_open text CHECK (reasoning_open <> ''),
  ADD COLUMN reasoning_close text CHECK (reasoning_close <> ''),
  ADD CHECK ((reasoning_open IS NULL) = (reasoning_close IS NULL));
