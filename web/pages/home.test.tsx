import { screen, within } from "@testing-library/react";
import { expect, test } from "vitest";
import { expectAccessible, open } from "../src/stage";

const usd = (amount: string) => ({ amount, currency: "USD" });
const job = (id: string, firstTokenMs: number) => ({
  id,
  model: "spark-1",
  status: "DONE",
  promptTokens: "22",
  outputTokens: "2",
  charge: usd("0.000003"),
  receivedAt: "2026-11-23T12:00:00.000Z",
  firstTokenAt: new Date(Date.parse("2026-11-23T12:00:00.000Z") + firstTokenMs).toISOString(),
});

/** The data of someone who has done all that the checklist asks. */
const busy = {
  balance: { available: usd("4.99"), pending: usd("0") },
  apiKeys: { nodes: [{ id: "key_1", lastUsedAt: "2026-11-23T12:00:00Z" }] },
  jobs: { nodes: [job("job_1", 50), job("job_2", 90), job("job_3", 70)] },
  done: { nodes: [{ id: "job_1" }] },
  failed: { nodes: [] },
  usage: { nodes: [{ jobs: "3", amount: usd("0.000009") }] },
  nodes: { nodes: [{ id: "node_1" }] },
};

test("someone new is shown what to do next", async () => {
  const none = { nodes: [] };
  open("/", { Home: { ...busy, apiKeys: none, jobs: none, done: none, usage: none } });
  const next = await screen.findByRole("link", { name: "Make a key" });
  expect(next.getAttribute("href")).toBe("/keys?make");
  expect(screen.queryByText("Spent today")).toBeNull();
  await expectAccessible();
});

test("once the checklist is done, home says what today cost, how fast it is, and that nothing is wrong", async () => {
  open("/", { Home: busy });
  const spent = await screen.findByRole("region", { name: "Spent today" });
  expect(spent.textContent).toContain("0.000009");
  expect(spent.textContent).toContain("3 jobs");
  expect(screen.getByRole("region", { name: "First token" }).textContent).toContain("70 ms");
  expect(screen.getByRole("region", { name: "Anything wrong?" }).textContent).toContain("Nothing");
  expect(screen.queryByText("Make a key")).toBeNull();
  await expectAccessible();
});

test("one job is one job", async () => {
  open("/", { Home: { ...busy, usage: { nodes: [{ jobs: "1", amount: usd("0.000003") }] } } });
  expect((await screen.findByRole("region", { name: "Spent today" })).textContent).toContain("1 job since");
});

test("what is wrong is named and leads to where it can be seen", async () => {
  open("/", { Home: { ...busy, failed: { nodes: [{ id: "job_9" }] }, nodes: { nodes: [] }, balance: { available: usd("0.00"), pending: usd("0") } } });
  const wrong = within(await screen.findByRole("region", { name: "Anything wrong?" }));
  const leads = wrong.getAllByRole("link").map((link) => [link.textContent, link.getAttribute("href")]);
  expect(leads).toEqual([
    ["No node is connected", "/supply/nodes"],
    ["No credit is left", "/usage"],
    ["Jobs failed today", "/usage?period=today&status=FAILED"],
  ]);
  await expectAccessible();
});
