import { screen } from "@testing-library/react";
import { expect, test } from "vitest";
import { expectAccessible, open } from "../src/stage";

const measured = { firstTokenMs: 64.4, tokensPerSecond: 212.3, reliability: 0.998 };
const node = {
  id: "node_01935d2e8f7a7c3e9b1d4f6a8c0e2b4d",
  name: "attic",
  tier: "TERMINAL",
  chip: "Some chip, 8 cores",
  engine: "llama.cpp 1",
  connectedAt: "2026-11-23T11:00:00Z",
  draining: false,
  load: { running: 2, waiting: 1 },
  models: [{ model: "spark-1", slots: 4, slotsFree: 2, ...measured }],
};

test("without a node it says what that means and who can help", async () => {
  open("/supply/nodes", { Nodes: { nodes: { nodes: [] } } });
  expect(await screen.findByText("No node is connected")).toBeTruthy();
  await expectAccessible();
});

test("a node tells its tier, chip and models with what was measured on it", async () => {
  open("/supply/nodes", { Nodes: { nodes: { nodes: [node] } } });
  const card = await screen.findByRole("region", { name: "attic" });
  for (const fact of ["Terminal", "Some chip, 8 cores", "2 running, 1 waiting", "64 ms", "212 tokens/s", "99.8%", "2 / 4"]) {
    expect(card.textContent).toContain(fact);
  }
  await expectAccessible();
});

test("a model that has served nothing yet says so, and a draining node too", async () => {
  const idle = { ...node.models[0], firstTokenMs: null, tokensPerSecond: null, reliability: null };
  open("/supply/nodes", { Nodes: { nodes: { nodes: [{ ...node, draining: true, models: [idle] }] } } });
  const card = await screen.findByRole("region", { name: "attic" });
  expect(card.textContent).toContain("Not measured yet");
  expect(card.textContent).toContain("Draining");
});
