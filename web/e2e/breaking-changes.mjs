// Fails when NEW breaks what the GraphQL schema OLD promised: `node breaking-changes.mjs OLD NEW`. A break that is intended
// is a line of breaking-changes.allowed, word for word as printed here.
import { readFileSync } from "node:fs";
import { buildSchema, findBreakingChanges } from "graphql";

const [before, after] = process.argv.slice(2).map((path) => buildSchema(readFileSync(path, "utf8")));
const allowed = new Set(readFileSync(new URL("breaking-changes.allowed", import.meta.url), "utf8").split("\n"));
const changes = findBreakingChanges(before, after).map((change) => change.description);
const refused = changes.filter((description) => !allowed.has(description));

for (const description of changes) {
  process.stdout.write(`${allowed.has(description) ? "allowed" : "BREAKS"}  ${description}\n`);
}
process.exitCode = refused.length === 0 ? 0 : 1;
