import { fireEvent, screen, waitFor, within } from "@testing-library/react";
import { expect, test } from "vitest";
import { expectAccessible, open } from "../src/stage";

const SECRET = "tgk_only_for_this_test";
const end = { hasNextPage: false, endCursor: null };
const laptop = {
  id: "key_01935d2e8f7a7c3e9b1d4f6a8c0e2b4d",
  name: "laptop",
  hint: "1a2b",
  createdAt: "2026-11-20T12:00:00Z",
  expiresAt: null,
  revokedAt: null,
  lastUsedAt: "2026-11-23T12:00:00Z",
};
const old = { ...laptop, id: "key_2", name: "old", revokedAt: "2026-11-21T12:00:00Z", lastUsedAt: null };
const keys = (...nodes: object[]) => ({ apiKeys: { pageInfo: end, nodes } });
const made = { apiKeyCreate: { apiKey: { id: laptop.id }, secret: SECRET, refusal: null } };

async function makeKey(name: string) {
  const dialog = within(await screen.findByRole("dialog"));
  fireEvent.change(dialog.getByLabelText("Name"), { target: { value: name } });
  fireEvent.submit(dialog.getByLabelText("Name"));
}

test("nobody with a key yet is shown how to make the first", async () => {
  const { address } = open("/keys", { Keys: keys() });
  expect(await screen.findByText("No key yet")).toBeTruthy();
  await expectAccessible();
  fireEvent.click(screen.getAllByRole("button", { name: "Make a key" })[0] as HTMLElement);
  expect(await screen.findByRole("dialog")).toBeTruthy();
  expect(address()).toBe("/keys?make=");
  await expectAccessible();
});

test("keys are listed with what they are for and when they were used", async () => {
  open("/keys", { Keys: keys(laptop, old) });
  const table = await screen.findByRole("table", { name: "Keys" });
  expect(table.textContent).toContain("laptop");
  expect(table.textContent).toContain("Active");
  expect(table.textContent).toContain("Revoked");
  expect(within(table).getAllByRole("button", { name: /^Revoke/ })).toHaveLength(1);
  await expectAccessible();
});

test("a secret is shown once and stored nowhere", async () => {
  open("/keys?make", { Keys: keys(laptop), KeyCreate: made });
  await makeKey("laptop");
  expect(await screen.findByText(SECRET)).toBeTruthy();
  await expectAccessible();
  expect(JSON.stringify([{ ...window.localStorage }, { ...window.sessionStorage }])).not.toContain(SECRET);
  fireEvent.click(screen.getByRole("button", { name: "I have stored it" }));
  await waitFor(() => expect(screen.queryByText(SECRET)).toBeNull());
});

test("a name that is refused is told in the dialog, and stays typed", async () => {
  const refusal = { code: "conflict", message: "That name is taken.", param: "name", retryAfterMs: null };
  open("/keys?make", { Keys: keys(laptop), KeyCreate: { apiKeyCreate: { apiKey: null, secret: null, refusal } } });
  await makeKey("laptop");
  expect((await screen.findByRole("alert")).textContent).toContain("That name is taken.");
  expect(screen.getByLabelText<HTMLInputElement>("Name").value).toBe("laptop");
});

test("revoking says what stops and asks for the key's name", async () => {
  const revoked = { id: laptop.id, revokedAt: "2026-11-23T12:00:00Z", refusal: null };
  const { askedFor, tell } = open("/keys", { Keys: keys(laptop), KeyRevoke: { apiKeyRevoke: revoked } });
  fireEvent.click(await screen.findByRole("button", { name: "Revoke laptop" }));
  const dialog = within(await screen.findByRole("dialog"));
  expect(dialog.getByText(/programs that use this key are refused/)).toBeTruthy();
  const button = dialog.getByRole<HTMLButtonElement>("button", { name: "Revoke" });
  expect(button.disabled).toBe(true);
  fireEvent.change(dialog.getByLabelText("Type laptop to confirm"), { target: { value: "laptop" } });
  expect(button.disabled).toBe(false);
  await expectAccessible();
  tell({ Keys: keys({ ...laptop, revokedAt: revoked.revokedAt }) });
  fireEvent.click(button);
  await waitFor(() => expect(screen.queryByRole("dialog")).toBeNull());
  expect(askedFor("KeyRevoke")).toEqual({ input: { id: laptop.id } });
  await waitFor(() => expect(screen.queryByRole("button", { name: "Revoke laptop" })).toBeNull());
});

test("older keys are a page further, and the page stands in the address", async () => {
  const { address, askedFor } = open("/keys", {
    Keys: { apiKeys: { pageInfo: { hasNextPage: true, endCursor: "key_1" }, nodes: [laptop] } },
  });
  fireEvent.click(await screen.findByRole("link", { name: "Older" }));
  await waitFor(() => expect(askedFor("Keys")).toEqual({ after: "key_1" }));
  expect(address()).toBe("/keys?after=key_1");
  expect(await screen.findByRole("link", { name: "Newest" })).toBeTruthy();
});
