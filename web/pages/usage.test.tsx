import { fireEvent, screen, waitFor, within } from "@testing-library/react";
import { expect, test, vi } from "vitest";
import { expectAccessible, open } from "../src/stage";

const usd = (amount: string) => ({ amount, currency: "USD" });
const balance = {
  balance: {
    posted: usd("5"),
    pending: usd("0.01"),
    available: usd("4.99"),
    lots: [{ kind: "PROMO", amount: usd("5"), expiresAt: "2027-02-01T00:00:00Z", lapsed: false }],
  },
};
const row = (key: string | null, name: string, amount: string) => ({
  key,
  name,
  jobs: "3",
  inputTokens: "66",
  outputTokens: "6",
  amount: usd(amount),
});
const spent = (...nodes: object[]) => ({ usage: { pageInfo: { hasNextPage: false }, nodes } });
const job = {
  id: "job_01935d2e8f7a7c3e9b1d4f6a8c0e2b4d",
  model: "spark-1",
  status: "DONE",
  promptTokens: "22",
  outputTokens: "2",
  charge: usd("0.000003"),
  receivedAt: "2026-11-21T12:00:00Z",
};
const listed = (nodes: object[], pageInfo = { hasNextPage: false, endCursor: null as string | null }) => ({
  jobs: { pageInfo, nodes },
  models: { nodes: [{ id: "spark-1", name: "Spark 1" }] },
  apiKeys: { nodes: [{ id: "key_1", name: "laptop" }] },
});
const days = spent(row("2026-11-20", "2026-11-20", "0.5"), row("2026-11-22", "2026-11-22", "0.25"));
const full = { Balance: balance, UsageSpend: days, UsageJobs: listed([job]) };
const NOVEMBER = "/usage?period=custom&from=2026-11-20&to=2026-11-22";

test("without use it says so and leads to the playground", async () => {
  open("/usage", { Balance: balance, UsageSpend: spent(), UsageJobs: listed([]) });
  expect(await screen.findByText("Nothing was spent in this period.")).toBeTruthy();
  expect((await screen.findByRole("link", { name: "Open playground" })).getAttribute("href")).toBe("/playground");
  await expectAccessible();
});

test("the address says which days are summed, and a day without use is a bar of nothing", async () => {
  const { askedFor } = open(NOVEMBER, full);
  const chart = await screen.findByRole("slider", { name: "Spend, Day" });
  expect(askedFor("UsageSpend")).toEqual({ from: "2026-11-20T00:00:00Z", to: "2026-11-23T00:00:00Z", groupBy: "DAY" });
  expect(chart.getAttribute("aria-valuemax")).toBe("3");
  fireEvent.keyDown(chart, { key: "ArrowLeft" });
  expect(chart.getAttribute("aria-valuetext")).toContain("2026-11-21");
  expect(chart.getAttribute("aria-valuetext")).toContain("0.00");
  fireEvent.keyDown(chart, { key: "Home" });
  expect(chart.getAttribute("aria-valuetext")).toContain("0.50");
  expect(screen.getByRole("region", { name: "Spend" }).textContent).toContain("0.75");
  await expectAccessible();
});

test("one key turns the chart into a table of the same, and the address remembers it", async () => {
  const { address } = open(NOVEMBER, full);
  await screen.findByRole("slider");
  fireEvent.keyDown(document.body, { key: "t" });
  const table = within(await screen.findByRole("table", { name: "Spend" }));
  expect(address()).toContain("view=table");
  fireEvent.click(table.getByRole("link", { name: "2026-11-20" }));
  await waitFor(() => expect(address()).toContain("from=2026-11-20&to=2026-11-20"));
  await expectAccessible();
});

test("models are ordered by what they cost, and a row opens its jobs", async () => {
  const { address, askedFor } = open("/usage?by=model&view=table", {
    ...full,
    UsageSpend: spent(row("ant", "ant", "0.1"), row("bee", "bee", "0.9")),
  });
  const links = within(await screen.findByRole("table", { name: "Spend" })).getAllByRole("link");
  expect(links.map((link) => link.textContent)).toEqual(["bee", "ant"]);
  fireEvent.click(links[0] as HTMLElement);
  await waitFor(() => expect(askedFor("UsageJobs")).toMatchObject({ filter: { model: "bee" } }));
  expect(address()).toContain("model=bee");
});

test("work without a key has its name and leads nowhere", async () => {
  open("/usage?by=key&view=table", { ...full, UsageSpend: spent(row(null, "console", "0.1")) });
  const table = within(await screen.findByRole("table", { name: "Spend" }));
  expect(table.getByText("console")).toBeTruthy();
  expect(table.queryByRole("link")).toBeNull();
});

test("only the most expensive are drawn, and the rest are counted", async () => {
  const models = Array.from({ length: 7 }, (_, place) => row(`m${place}`, `m${place}`, `0.${place + 1}`));
  open("/usage?by=model", { ...full, UsageSpend: spent(...models) });
  const list = await screen.findByRole("list", { name: "Spend" });
  expect(within(list).getAllByRole("listitem")).toHaveLength(5);
  expect(screen.getByText("2 more in the table.")).toBeTruthy();
  await expectAccessible();
});

test("filters stand in the address and narrow the jobs; showing all takes them away", async () => {
  const { address, askedFor } = open("/usage?model=spark-1&status=FAILED&key=key_1", { ...full, UsageJobs: listed([]) });
  expect(await screen.findByText("No job is like that in this period.")).toBeTruthy();
  expect(askedFor("UsageJobs")).toMatchObject({ filter: { model: "spark-1", status: "FAILED", apiKeyId: "key_1" } });
  fireEvent.click(screen.getByRole("button", { name: "Show all" }));
  await waitFor(() => expect(address()).toBe("/usage"));
  await waitFor(() => expect(askedFor("UsageJobs")).toMatchObject({ filter: { model: null, status: null, apiKeyId: null } }));
});

test("jobs lead to their receipts, and older ones are a page further", async () => {
  const { askedFor } = open("/usage?status=DONE", {
    ...full,
    UsageJobs: listed([job], { hasNextPage: true, endCursor: job.id }),
  });
  const table = within(await screen.findByRole("table", { name: "Jobs" }));
  expect(table.getByRole("link").getAttribute("href")).toBe(`/jobs/${job.id}`);
  fireEvent.click(screen.getByRole("link", { name: "Older" }));
  await waitFor(() => expect(askedFor("UsageJobs")).toMatchObject({ after: job.id, filter: { status: "DONE" } }));
});

test("what is seen can be saved for a spreadsheet", async () => {
  const saved: Blob[] = [];
  URL.createObjectURL = vi.fn((blob: Blob) => `blob:${saved.push(blob)}`);
  URL.revokeObjectURL = vi.fn();
  const click = vi.spyOn(HTMLAnchorElement.prototype, "click").mockImplementation(() => {});
  open(NOVEMBER, full);
  await screen.findByRole("slider");
  fireEvent.click(screen.getByRole("button", { name: "CSV: tokengrid-usage-day" }));
  expect(click).toHaveBeenCalledOnce();
  const text = await new Promise((resolve) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(reader.result));
    reader.readAsText(saved[0] as Blob);
  });
  expect(text).toBe(
    "key,name,jobs,input_tokens,output_tokens,amount,currency\r\n" +
      "2026-11-20,2026-11-20,3,66,6,0.5,USD\r\n2026-11-22,2026-11-22,3,66,6,0.25,USD",
  );
});
