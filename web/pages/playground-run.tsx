import { useEffect, useRef, useState } from "react";
import { useClient } from "urql";
import { type Failure, failureOf } from "../src/failure";
import { graphql } from "../src/gql";
import type { FinishReason, JobSubmitInput } from "../src/gql/graphql";
import type { Amount } from "../ui/money";

const submitMutation = graphql(`
  mutation PlaygroundSubmit($input: JobSubmitInput!) {
    jobSubmit(input: $input) {
      job {
        id
        promptTokens
      }
      refusal {
        ...Refused
      }
    }
  }
`);

const cancelMutation = graphql(`
  mutation PlaygroundCancel($input: JobCancelInput!) {
    jobCancel(input: $input) {
      job {
        id
      }
      refusal {
        ...Refused
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
        finishReason
        promptTokens
        outputTokens
        charge {
          ...Amount
        }
        failure {
          ...Refused
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
  finishReason?: FinishReason | null;
  /** True from the wish to stop until the end. */
  stopping: boolean;
  ended: boolean;
  failure?: Failure;
}

const fresh: Run = {
  text: "",
  promptTokens: 0n,
  outputTokens: 0n,
  streamMs: 0,
  streamTokens: 0n,
  stopping: false,
  ended: false,
};

/** Submits a job, follows its output and stops it. Leaving the page leaves the job running. */
export function useRun() {
  const client = useClient();
  const [run, setRun] = useState<Run>();
  const latest = useRef<Run>(fresh);
  const stopFollowing = useRef<() => void>(undefined);
  useEffect(() => () => stopFollowing.current?.(), []);
  const change = (next: Partial<Run>) => {
    latest.current = { ...latest.current, ...next };
    setRun(latest.current);
  };

  const start = async (input: JobSubmitInput, onDone: (text: string) => void) => {
    const startedAt = performance.now();
    latest.current = fresh;
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
      const now = latest.current;
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
          finishReason: output.finishReason,
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

  /** The end comes as every end does, by the job's output; only a refusal is told here. */
  const stop = async () => {
    const { jobId } = latest.current;
    if (jobId === undefined) return;
    change({ stopping: true });
    const { data, error } = await client.mutation(cancelMutation, { input: { jobId } });
    const failure = failureOf(error) ?? data?.jobCancel?.refusal;
    if (failure) change({ stopping: false, failure });
  };

  const clear = () => {
    latest.current = fresh;
    setRun(undefined);
  };

  return { run, start, stop, clear };
}
