import { fireEvent, screen, waitFor } from "@testing-library/react";
import { describe, expect, test } from "vitest";
import { type Answer, expectAccessible, open, refused, unreachable } from "../src/stage";

/** Each screen that reads something, and what it reads. */
const screens: { path: string; operations: string[] }[] = [
  { path: "/", operations: ["Home"] },
  { path: "/playground", operations: ["PlaygroundModels"] },
  { path: "/keys", operations: ["Keys"] },
  { path: "/usage", operations: ["Balance", "UsageSpend", "UsageJobs"] },
  { path: "/jobs/job_1", operations: ["JobReceipt"] },
  { path: "/supply/nodes", operations: ["Nodes"] },
];

function all(operations: string[], answer: Answer): Record<string, Answer> {
  return Object.fromEntries(operations.map((operation) => [operation, answer]));
}

describe.each(screens)("the screen at $path", ({ path, operations }) => {
  test("shows the shape of what comes while it waits", async () => {
    open(path, {});
    expect(await screen.findByRole("heading", { level: 1 })).toBeTruthy();
    expect(screen.getAllByRole("status", { name: "Loading" }).length).toBe(operations.length);
    await expectAccessible();
  });

  test("says that the control plane is out of reach, and tries again when asked to", async () => {
    const { tell } = open(path, all(operations, unreachable));
    const [alert] = await screen.findAllByRole("alert");
    expect(alert?.textContent).toContain("unreachable");
    await expectAccessible();
    tell(all(operations, refused("internal", "Something went wrong on our side.")));
    for (const button of screen.getAllByRole("button", { name: "Try again" })) fireEvent.click(button);
    await waitFor(() => expect(screen.getAllByRole("alert")[0]?.textContent).toContain("internal"));
  });

  test("says who can open what is forbidden", async () => {
    open(path, all(operations, refused("forbidden", "Not allowed: this takes a tenant.")));
    const [alert] = await screen.findAllByRole("alert");
    expect(alert?.textContent).toContain("can grant it");
    await expectAccessible();
  });
});
