import { fireEvent, screen, within } from "@testing-library/react";
import { expect, test, vi } from "vitest";
import { expectAccessible, open, refused } from "../src/stage";

const usd = (amount: string) => ({ amount, currency: "USD" });
const hash = "814aadfa1be514cac2b487b0733e42ced51e348bfb4876871c2e1f5d59e41558";
const transfer = (kind: string, amount: string) => ({
  id: `transfer_${kind}`,
  kind,
  debit: "2010 promo credits",
  credit: "4000 inference revenue",
  amount: usd(amount),
  at: "2026-11-23T12:00:01Z",
});
const receipt = {
  jobId: "job_1",
  model: "spark-1",
  status: "DONE",
  finishReason: "STOP",
  lines: [
    { meter: "input", quantity: "22", unitPrice: { perMillion: "0.1", currency: "USD" }, amount: usd("0.0000022") },
    { meter: "output", quantity: "2", unitPrice: { perMillion: "0.4", currency: "USD" }, amount: usd("0.0000008") },
  ],
  total: usd("0.000003"),
  hold: usd("0.0000278"),
  holdReleased: usd("0.0000248"),
  transfers: [transfer("PENDING", "0.0000278"), transfer("CAPTURE", "0.000003")],
  block: { height: "5", hash },
  segments: [
    {
      epoch: 1,
      nodeId: "node_1",
      tokens: "2",
      outcome: "done",
      grantedAt: "2026-11-23T12:00:00.004Z",
      endedAt: "2026-11-23T12:00:00.074Z",
    },
  ],
  receivedAt: "2026-11-23T12:00:00.000Z",
  firstTokenAt: "2026-11-23T12:00:00.066Z",
  endedAt: "2026-11-23T12:00:00.074Z",
};
const data = { job: { id: "job_1", errorCode: null }, receipt };

test("a receipt tells what was counted, what it cost, where the money went and how to prove it", async () => {
  open("/jobs/job_1", { JobReceipt: data });
  const lines = await screen.findByRole("table", { name: "What was counted" });
  expect(lines.textContent).toContain("USD 0.0000022".replace(" ", "\u00a0"));
  const transfers = within(screen.getByRole("table", { name: "Transfers in the ledger" }));
  expect(transfers.getAllByRole("row")).toHaveLength(3);
  const verify = screen.getByRole("region", { name: "Verify" });
  expect(verify.textContent).toContain("tokengrid ledger verify");
  expect(verify.textContent).toContain("block 5");
  expect(screen.getByRole("img", { name: "Timeline: Queued 4 ms, To first token 62 ms, Output 8 ms" })).toBeTruthy();
  await expectAccessible();
});

test("one key shows identifiers and hashes in full", async () => {
  open("/jobs/job_1", { JobReceipt: data });
  await screen.findByRole("region", { name: "Verify" });
  expect(screen.queryByText(hash)).toBeNull();
  fireEvent.keyDown(document.body, { key: "e" });
  expect(screen.getByText(hash)).toBeTruthy();
});

test("the query behind the receipt can be copied as a program would send it", async () => {
  const writeText = vi.fn(async () => {});
  Object.assign(window.navigator, { clipboard: { writeText } });
  open("/jobs/job_1", { JobReceipt: data });
  await screen.findByRole("region", { name: "Verify" });
  fireEvent.click(screen.getByRole("button", { name: "Copy query" }));
  fireEvent.click(await screen.findByRole("menuitem", { name: "As curl" }));
  expect(writeText).toHaveBeenCalledWith(expect.stringMatching(/^curl .*\/graphql[^]*receipt\(jobId: \$jobId\)[^]*"jobId":"job_1"/));
  fireEvent.click(await screen.findByRole("button", { name: "Copied" }));
  fireEvent.click(await screen.findByRole("menuitem", { name: "As GraphQL" }));
  expect(writeText).toHaveBeenLastCalledWith(expect.stringMatching(/^# {"jobId":"job_1"}\nquery JobReceipt/));
});

test("a job that still runs has no block yet, and says that its money is not final", async () => {
  const running = { ...receipt, status: "STREAMING", finishReason: null, lines: [], block: null, endedAt: null, holdReleased: null };
  open("/jobs/job_1", { JobReceipt: { ...data, receipt: running } });
  expect(await screen.findByText("The job still runs: its money is not final.")).toBeTruthy();
  expect(screen.queryByRole("region", { name: "Verify" })).toBeNull();
  await expectAccessible();
});

test("a job of somebody else looks like one that is not there", async () => {
  open("/jobs/job_2", { JobReceipt: refused("not_found", "There is no such job.") });
  expect((await screen.findByRole("alert")).textContent).toContain("There is no such job.");
});
