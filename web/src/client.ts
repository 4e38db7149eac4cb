import { createClient } from "graphql-ws";
import { Client, cacheExchange, fetchExchange, subscriptionExchange } from "urql";

const ENDPOINT = "/graphql";

/** Speaks to the control plane: operations by POST, subscriptions over one socket, both with the session's cookie. */
export function newClient(): Client {
  const socket = createClient({ url: `${webSocketOrigin()}${ENDPOINT}`, lazy: true });
  return new Client({
    url: ENDPOINT,
    preferGetMethod: false,
    fetchOptions: { credentials: "same-origin" },
    requestPolicy: "cache-and-network",
    exchanges: [
      cacheExchange,
      fetchExchange,
      subscriptionExchange({
        forwardSubscription: ({ query, variables }) => ({
          subscribe: (sink) => ({
            unsubscribe: socket.subscribe({ query: query ?? "", variables: variables ?? null }, sink),
          }),
        }),
      }),
    ],
  });
}

function webSocketOrigin(): string {
  return window.location.origin.replace(/^http/, "ws");
}
