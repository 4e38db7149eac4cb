import { useState } from "react";
import { type AnyVariables, type TypedDocumentNode, useClient } from "urql";
import { type Failure, failureOf } from "./failure";

/** What a mutation answers: what it did, or why it did not. */
interface Payload {
  refusal: Failure | null;
}

interface State {
  busy: boolean;
  /** Why the latest try did nothing. */
  failure?: Failure | null | undefined;
}

/**
 * The one way a screen changes something: `attempt` runs a mutation of one field and gives its payload, or nothing when
 * it was refused or could not be done. Refusals and errors come out alike, to be shown in place.
 */
export function useAttempt() {
  const client = useClient();
  const [state, setState] = useState<State>({ busy: false });
  const attempt = async <Data extends { [field in keyof Data]: Payload | null }, Variables extends AnyVariables>(
    document: TypedDocumentNode<Data, Variables>,
    variables: Variables,
  ) => {
    setState({ busy: true });
    const { data, error } = await client.mutation(document, variables);
    const payload = payloadOf(data);
    const failure = failureOf(error) ?? payload?.refusal;
    setState({ busy: false, failure });
    return failure ? undefined : payload;
  };
  return { ...state, attempt };
}

function payloadOf<Data extends object>(data: Data | undefined) {
  for (const field in data) {
    const payload = data[field];
    if (payload) return payload;
  }
  return undefined;
}
