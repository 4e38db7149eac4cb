import { useEffect, useRef, useState } from "react";
import { useClient } from "urql";
import { type Failure, failureOf } from "../src/failure";
import { graphql } from "../src/gql";
import type { JobSubmitInput } from "../src/gql/graphql";
import type { Amount } from "../ui/money";

const submitMutation = graphql(`
  mutation PlaygroundSubmit($input: JobSubmitInput!) {
    jobSubmit(input: $input) {
      job {
        id
        promptTokens
      }
      refusal {
        code
        message
        param
        retryAfterMs
      }
    }
  }
`);

const tokensSubscription = graphql(`
  subscription PlaygroundTokens($jobId: ID!) {
    jobTokens(jobId: $jobId) {
      __typename
      ... on JobPiece {
        text
        tokens
      }
      ... on JobEnded {
        status
        promptTokens
        outputTokens
        charge {
          amount
          currency
        }
        failure {
          code
          message
          param
          retryAfterMs
        }
      }
    }
  }
`);

/** One request and what came of it so far. */
export interface Run {
  jobId?: string;
  text: string;
  promptTokens: bigint;
  outputTokens: bigint;
  /** Until the first token came. *Units*: milliseconds, by this browser's clock. */
  firstTokenMs?: number;
  /** From the first piece to the latest, and the tokens that came after the first. */
  streamMs: number;
  streamTokens: bigint;
  /** What was paid, once it ended. */
  charge?: Amount;
  ended: boolean;
  failure?: Failure;
}

const fresh: Run = { text: "", promptTokens: 0n, outputTokens: 0n, streamMs: 0, streamTokens: 0n, ended: false };

/** Submits a job and follows its output. Leaving the page leaves the job running. */
export function useRun() {
  const client = useClient();
  const [run, setRun] = useState<Run>();
  const stopFollowing = useRef<() => void>(undefined);
  useEffect(() => () => stopFollowing.current?.(), []);

  const start = async (input: JobSubmitInput, onDone: (text: string) => void) => {
    const startedAt = performance.now();
    let now = fresh;
    const change = (next: Partial<Run>) => setRun((now = { ...now, ...next }));
    change({});
    const submitted = await client.mutation(submitMutation, { input });
    const refusal = failureOf(submitted.error) ?? submitted.data?.jobSubmit?.refusal;
    if (refusal) return change({ ended: true, failure: refusal });
    const job = submitted.data?.jobSubmit?.job;
    if (!job) return;
    change({ jobId: job.id, promptTokens: BigInt(job.promptTokens) });
    const following = client.subscription(tokensSubscription, { jobId: job.id }).subscribe(({ data, error }) => {
      const failure = failureOf(error);
      if (failure) return change({ ended: true, failure });
      const output = data?.jobTokens;
      if (output?.__typename === "JobPiece") {
        const firstTokenMs = now.firstTokenMs ?? performance.now() - startedAt;
        change({
          text: now.text + output.text,
          outputTokens: now.outputTokens + BigInt(output.tokens),
          firstTokenMs,
          streamTokens: now.firstTokenMs === undefined ? 0n : now.streamTokens + BigInt(output.tokens),
          streamMs: performance.now() - startedAt - firstTokenMs,
        });
      } else if (output?.__typename === "JobEnded") {
        change({
          ended: true,
          promptTokens: BigInt(output.promptTokens),
          outputTokens: BigInt(output.outputTokens),
          charge: output.charge,
          ...(output.failure ? { failure: output.failure } : {}),
        });
        onDone(now.text);
      }
    });
    stopFollowing.current = following.unsubscribe;
  };

  return { run, start, clear: () => setRun(undefined) };
}
