import { fireEvent, screen, waitFor, within } from "@testing-library/react";
import { expect, test } from "vitest";
import { expectAccessible, open } from "../src/stage";

const spark = {
  id: "spark-1",
  name: "Spark 1",
  kind: "GENERATION",
  outputTokensMax: "1024",
  inputPrice: { perMillion: "0.1", currency: "USD" },
  outputPrice: { perMillion: "0.4", currency: "USD" },
  nodes: 1,
};
const models = { models: { nodes: [spark] } };
const taken = { jobSubmit: { job: { id: "job_1", promptTokens: "22" }, refusal: null } };
const piece = (text: string, tokens: string) => ({ __typename: "JobPiece", text, tokens });
const ended = (finishReason: string, more: object = {}) => ({
  __typename: "JobEnded",
  status: finishReason === "CANCELLED" ? "CANCELLED" : "DONE",
  finishReason,
  promptTokens: "22",
  outputTokens: "2",
  charge: { amount: "0.000003", currency: "USD" },
  failure: null,
  ...more,
});

async function ask(text: string) {
  fireEvent.change(await screen.findByLabelText("Message"), { target: { value: text } });
  fireEvent.click(screen.getByRole("button", { name: "Send" }));
}

/** The figure of that name, in words. */
function figure(name: string): string {
  return screen.getByRole("region", { name }).textContent ?? "";
}

test("without a model on offer it says so", async () => {
  open("/playground", { PlaygroundModels: { models: { nodes: [] } } });
  expect(await screen.findByText("No model on offer")).toBeTruthy();
  await expectAccessible();
});

test("a model that embeds is not on offer here, and cached input has its price", async () => {
  const embeds = { ...spark, id: "embedder", name: "Embedder", kind: "EMBEDDING", inputPrice: null, outputPrice: null };
  const cached = { ...spark, cachedInputPrice: { perMillion: "0.01", currency: "USD" } };
  open("/playground", { PlaygroundModels: { models: { nodes: [embeds, cached] } } });
  expect(await screen.findByText(/Cached input/)).toBeTruthy();
  expect(screen.queryByText("Embedder")).toBeNull();
  await expectAccessible();
});

test("tokens and cost tick while it streams, and the receipt is linked at the end", async () => {
  const { askedFor, say } = open("/playground", { PlaygroundModels: models, PlaygroundSubmit: taken });
  await ask("What is 12 + 30?");
  await say(piece("4", "1"));
  await waitFor(() => expect(figure("Tokens out")).toContain("1"));
  // 22 tokens at 0.1 and 1 at 0.4 USD per million.
  expect(figure("Cost")).toContain("0.0000026");
  expect(figure("First token")).toContain("ms");
  expect(screen.getByRole("log").textContent).toContain("4");
  await expectAccessible();
  await say(piece("2", "1"));
  await say(ended("STOP"));
  const receipt = await screen.findByRole("link", { name: "Receipt" });
  expect(receipt.getAttribute("href")).toBe("/jobs/job_1");
  expect(figure("Cost")).toContain("0.000003");
  expect(screen.getByRole("log").textContent).toContain("42");
  expect(askedFor("PlaygroundSubmit")).toMatchObject({
    input: { model: "spark-1", messages: [{ role: "USER", content: "What is 12 + 30?" }], maxTokens: 256 },
  });
});

test("stop is off with a reason until something runs, and then ends the job", async () => {
  const { askedFor, say } = open("/playground", {
    PlaygroundModels: models,
    PlaygroundSubmit: taken,
    PlaygroundCancel: { jobCancel: { job: { id: "job_1" }, refusal: null } },
  });
  const stop = await screen.findByRole("button", { name: "Stop" });
  expect(stop.getAttribute("aria-disabled")).toBe("true");
  fireEvent.focus(stop);
  expect(await screen.findByText("Nothing runs now.")).toBeTruthy();
  fireEvent.blur(stop);
  await ask("Count to a million.");
  await say(piece("1", "1"));
  await waitFor(() => expect(stop.getAttribute("aria-disabled")).toBe("false"));
  fireEvent.click(stop);
  await waitFor(() => expect(askedFor("PlaygroundCancel")).toEqual({ input: { jobId: "job_1" } }));
  await say(ended("CANCELLED"));
  expect(await screen.findByText("Stopped, or the caller left")).toBeTruthy();
  expect(stop.getAttribute("aria-disabled")).toBe("true");
});

test("a refusal is told in place, and the message stays", async () => {
  const refusal = { code: "insufficient_funds", message: "Short of 0.5 USD.", param: null, retryAfterMs: null };
  open("/playground", { PlaygroundModels: models, PlaygroundSubmit: { jobSubmit: { job: null, refusal } } });
  await ask("What is Tokengrid?");
  expect((await screen.findByRole("alert")).textContent).toContain("Short of 0.5 USD.");
  expect(screen.getByLabelText<HTMLTextAreaElement>("Message").value).toBe("What is Tokengrid?");
});

test("the code has a place for a key, and the key itself once one is made", async () => {
  open("/playground", {
    PlaygroundModels: models,
    KeyCreate: { apiKeyCreate: { apiKey: { id: "key_1" }, secret: "tgk_fresh", refusal: null } },
  });
  const code = within(await screen.findByRole("region", { name: "The same request in code" }));
  expect(code.getByText(/Bearer \$TOKENGRID_KEY/)).toBeTruthy();
  fireEvent.click(code.getByRole("button", { name: "Make a key and fill it in" }));
  const name = await screen.findByLabelText("Name");
  fireEvent.change(name, { target: { value: "laptop" } });
  fireEvent.submit(name);
  fireEvent.click(await screen.findByRole("button", { name: "I have stored it" }));
  expect(await code.findByText(/Bearer tgk_fresh/)).toBeTruthy();
  for (const dialect of ["Python", "JavaScript", "GraphQL"]) {
    fireEvent.click(code.getByLabelText(dialect));
    expect(await code.findByText(/tgk_fresh/)).toBeTruthy();
  }
  expect(code.queryByText("Make a key and fill it in")).toBeNull();
});

test("whoever looks at the receipt finds the conversation again, and what they began to type", async () => {
  const { say, go } = open("/playground", { PlaygroundModels: models, PlaygroundSubmit: taken });
  await ask("What is 12 + 30?");
  await say(piece("42", "2"));
  await say(ended("STOP"));
  await screen.findByRole("link", { name: "Receipt" });
  fireEvent.change(screen.getByLabelText("Message"), { target: { value: "And 13 + 30?" } });
  await go("/nowhere");
  await screen.findByRole("heading", { level: 1, name: "Nothing is here" });
  await go("/playground");
  expect((await screen.findByRole("log")).textContent).toContain("42");
  expect(screen.getByLabelText<HTMLTextAreaElement>("Message").value).toBe("And 13 + 30?");
});
