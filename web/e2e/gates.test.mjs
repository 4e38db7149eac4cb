// The gates of the build, tried with what they must stop.
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";

/** Runs a program of this folder; gives how it ended and what it said. */
function run(program, ...args) {
  const { status, stdout, stderr } = spawnSync("node", [join("e2e", program), ...args], { encoding: "utf8" });
  return { status, said: `${stdout}${stderr}` };
}

/** A new folder with these files. */
function folderWith(files) {
  const folder = mkdtempSync(join(tmpdir(), "tokengrid-gates-"));
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
  return folder;
}

test("a console within its budget is built, and one that outgrew it in any number of chunks is not", () => {
  const chunk = randomBytes(180_000);
  const within = run("budget.mjs", folderWith({ "a.js": chunk, "b.css": chunk, "c.js": "" }));
  expect(within).toEqual({ status: 0, said: expect.stringContaining("the budget is 350 kB") });
  const over = run("budget.mjs", folderWith({ "a.js": chunk, "b.js": chunk }));
  expect(over).toEqual({ status: 1, said: expect.stringContaining("over it") });
  expect(run("budget.mjs", folderWith({})).status).toBe(1);
});

test("a schema may grow, and may break a promise only when that is allowed word for word", () => {
  const schema = (fields) => `type Query { me: String } type UserSignUpPayload { ${fields} }`;
  const folder = folderWith({
    "before.graphql": schema("me: String, expiresAt: String, refusal: String"),
    "grown.graphql": schema("me: String, expiresAt: String, refusal: String, more: String"),
    "allowed.graphql": schema("refusal: String"),
    "broken.graphql": schema("me: String, expiresAt: String"),
  });
  const change = (after) => run("breaking-changes.mjs", join(folder, "before.graphql"), join(folder, after));
  expect(change("grown.graphql")).toEqual({ status: 0, said: "" });
  expect(change("allowed.graphql")).toEqual({ status: 0, said: expect.stringMatching(/^allowed .*\nallowed /) });
  const broken = change("broken.graphql");
  expect(broken).toEqual({ status: 1, said: expect.stringContaining("BREAKS  UserSignUpPayload.refusal was removed.") });
});
