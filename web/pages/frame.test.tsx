import { fireEvent, screen, waitFor, within } from "@testing-library/react";
import { expect, test } from "vitest";
import { expectAccessible, open } from "../src/stage";

const nodes = { Nodes: { nodes: { nodes: [] } } };

async function search(text: string) {
  const field = await screen.findByRole("combobox", { name: "Search" });
  fireEvent.change(field, { target: { value: text } });
  return field;
}

test("a key opens the palette, a few letters find a screen, and Enter goes there", async () => {
  const { address } = open("/supply/nodes", { ...nodes, Keys: { apiKeys: null } });
  await screen.findByText("No node is connected");
  fireEvent.keyDown(document.body, { key: "/" });
  const field = await search("key");
  await expectAccessible();
  fireEvent.keyDown(field, { key: "Enter" });
  await waitFor(() => expect(address()).toBe("/keys"));
  fireEvent.keyDown(document.body, { key: "k", ctrlKey: true });
  expect(await screen.findByRole("dialog", { name: "Search" })).toBeTruthy();
});

test("another screen takes the focus, and a change on the same screen does not", async () => {
  open("/supply/nodes", { ...nodes, Keys: { apiKeys: null } });
  await screen.findByText("No node is connected");
  const link = screen.getByRole("link", { name: "Keys" });
  link.focus();
  fireEvent.click(link);
  await screen.findByRole("heading", { level: 1, name: "Keys" });
  expect(document.activeElement).toBe(screen.getByRole("main"));
  const make = screen.getByRole("button", { name: "Make a key" });
  make.focus();
  fireEvent.click(make);
  await screen.findByRole("dialog");
  expect(document.activeElement).not.toBe(screen.getByRole("main"));
});

test("arrows choose in the palette, round and round", async () => {
  open("/supply/nodes", nodes);
  await screen.findByText("No node is connected");
  fireEvent.keyDown(document.body, { key: "k", metaKey: true });
  const field = await search("theme");
  const chosen = () => screen.getByRole("option", { selected: true }).textContent;
  expect(chosen()).toContain("Light");
  fireEvent.keyDown(field, { key: "ArrowDown" });
  expect(chosen()).toContain("Dark");
  fireEvent.keyDown(field, { key: "ArrowUp" });
  fireEvent.keyDown(field, { key: "ArrowUp" });
  expect(chosen()).toContain("System");
});

test("a job's identifier leads to its receipt, and nonsense nowhere", async () => {
  const { address } = open("/supply/nodes", nodes);
  await screen.findByText("No node is connected");
  fireEvent.click(screen.getByRole("button", { name: "Search" }));
  await search("qqq");
  expect(screen.getByText("Nothing matches.")).toBeTruthy();
  fireEvent.keyDown(await search("job_01935d2e"), { key: "Enter" });
  await waitFor(() => expect(address()).toBe("/jobs/job_01935d2e"));
});

test("the keys are listed, and single ones can be turned off", async () => {
  open("/supply/nodes", nodes);
  await screen.findByText("No node is connected");
  fireEvent.keyDown(document.body, { key: "?" });
  const dialog = within(await screen.findByRole("dialog", { name: "Keyboard" }));
  await expectAccessible();
  fireEvent.click(dialog.getByRole("switch"));
  fireEvent.click(dialog.getByRole("button", { name: "Cancel" }));
  await waitFor(() => expect(screen.queryByRole("dialog")).toBeNull());
  fireEvent.keyDown(document.body, { key: "?" });
  expect(screen.queryByRole("dialog")).toBeNull();
  fireEvent.keyDown(document.body, { key: "k", ctrlKey: true });
  expect(await screen.findByRole("dialog", { name: "Search" })).toBeTruthy();
});

test("signing out ends the session and asks to sign in", async () => {
  const { address, tell } = open("/supply/nodes", { ...nodes, SignOut: { sessionEnd: { endedAt: "2026-11-23T12:00:00Z", refusal: null } } });
  await screen.findByText("No node is connected");
  fireEvent.click(screen.getByRole("button", { name: "Account" }));
  tell({ Frame: { me: null } });
  fireEvent.click(await screen.findByRole("menuitem", { name: "Sign out" }));
  await waitFor(() => expect(address()).toBe("/sign-in"));
});

test("an address that leads nowhere says so", async () => {
  open("/nowhere", {});
  expect((await screen.findAllByText("Nothing is here")).length).toBeGreaterThan(0);
});

test("the console speaks Chinese everywhere once it is told to", async () => {
  open("/supply/nodes", nodes);
  await screen.findByText("No node is connected");
  fireEvent.keyDown(document.body, { key: "/" });
  fireEvent.keyDown(await search("中文"), { key: "Enter" });
  expect(await screen.findByText("没有在线节点")).toBeTruthy();
  await expectAccessible();
});
