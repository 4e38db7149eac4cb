import type { CombinedError } from "urql";

/** Why something did not happen: a payload's refusal, an operation's error, or a server out of reach. */
export interface Failure {
  code: string;
  message: string;
  param?: string | null;
  retryAfterMs?: number | null;
}

/** The failure inside an operation's error, if there is one. */
export function failureOf(error: CombinedError | undefined): Failure | undefined {
  if (error === undefined) return undefined;
  const [first] = error.graphQLErrors;
  if (first === undefined) return { code: "unreachable", message: error.networkError?.message ?? error.message };
  const { code, param, retryAfterMs } = first.extensions;
  return {
    code: typeof code === "string" ? code : "internal",
    message: first.message,
    param: typeof param === "string" ? param : null,
    retryAfterMs: typeof retryAfterMs === "number" ? retryAfterMs : null,
  };
}
