import { MantineProvider } from "@mantine/core";
import { act, render } from "@testing-library/react";
import axe from "axe-core";
import { createMemoryRouter, RouterProvider } from "react-router";
import { Client, cacheExchange, fetchExchange, subscriptionExchange } from "urql";
import { expect, vi } from "vitest";
import { ExactnessProvider } from "./exactness";
import { I18nProvider } from "./i18n";
import { routes } from "./router";
import { SessionProvider } from "./session";
import { cssVariables, theme } from "./theme";

type Variables = Record<string, unknown>;

/** What the control plane says to an operation: its data, or nothing at all, so that the screen goes on waiting. */
export type Answer = object | ((variables: Variables) => object | undefined) | undefined;

/** Someone who is signed in. */
const frame = { me: { id: "user_1", email: "ada@example.com", tenant: { id: "tenant_1", name: "Analytical" } } };

/** Shows the console at an address, over a control plane that answers each operation, by its name, as told. */
export function open(path: string, answers: Record<string, Answer>) {
  const asked: { operation: string; variables: Variables }[] = [];
  const told: Record<string, Answer> = { Frame: frame, ...answers };
  const followers: ((output: object) => void)[] = [];

  const respond = async (_: unknown, request?: RequestInit) => {
    const { operationName, variables = {} } = JSON.parse(String(request?.body));
    asked.push({ operation: operationName, variables });
    const answer = told[operationName];
    const body = typeof answer === "function" ? answer(variables) : answer;
    if (body === undefined) return new Promise<Response>(() => {});
    if (body instanceof Error) throw body;
    const text = JSON.stringify("errors" in body ? body : { data: body });
    return new Response(text, { headers: { "content-type": "application/json" } });
  };
  const connect = () =>
    new Client({
      url: "http://tokengrid.test/graphql",
      preferGetMethod: false,
      requestPolicy: "cache-and-network",
      fetch: respond,
      exchanges: [
        cacheExchange,
        fetchExchange,
        subscriptionExchange({
          forwardSubscription: () => ({
            subscribe: (sink) => {
              followers.push((output) => sink.next({ data: { jobTokens: output } }));
              return { unsubscribe: () => {} };
            },
          }),
        }),
      ],
    });
  const router = createMemoryRouter(routes, { initialEntries: [path] });
  const { container } = render(
    <MantineProvider theme={theme} cssVariablesResolver={cssVariables} env="test">
      <I18nProvider>
        <SessionProvider connect={connect}>
          <ExactnessProvider>
            <RouterProvider router={router} />
          </ExactnessProvider>
        </SessionProvider>
      </I18nProvider>
    </MantineProvider>,
  );
  return {
    container,
    /** The address that the console stands at. */
    address: () => `${router.state.location.pathname}${router.state.location.search}`,
    /** Goes to another address, as a link would. */
    go: (to: string) => act(() => router.navigate(to)),
    /** The variables that an operation was last asked with. */
    askedFor: (operation: string) => asked.findLast((each) => each.operation === operation)?.variables,
    /** Tells what the control plane answers from now on. */
    tell: (more: Record<string, Answer>) => Object.assign(told, more),
    /** Says a part of the followed job's output, once it is followed. */
    say: async (output: object) => {
      await vi.waitFor(() => expect(followers).not.toHaveLength(0));
      followers.at(-1)?.(output);
    },
  };
}

/** An operation's error. */
export function refused(code: string, message: string): Answer {
  return { errors: [{ message, extensions: { code } }], data: null };
}

/** A control plane that is not there. */
export const unreachable: Answer = new TypeError("fetch failed");

/** Fails when the page has what hinders people who cannot see, hear or point. Contrast needs a real browser. */
export async function expectAccessible() {
  const { violations } = await axe.run(document.body, { rules: { "color-contrast": { enabled: false } } });
  const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" ")}`);
  expect(found).toEqual([]);
}
