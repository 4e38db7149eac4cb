// Fails the build when the console's script outgrows its budget, every chunk counted: `node budget.mjs [FOLDER]`.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const BUDGET_BYTES = 350_000;
const folder = process.argv[2] ?? fileURLToPath(new URL("../dist/assets/", import.meta.url));
const chunks = readdirSync(folder).filter((name) => name.endsWith(".js"));
const total = chunks.reduce((sum, name) => sum + gzipSync(readFileSync(join(folder, name))).length, 0);

const line = `script: ${(total / 1000).toFixed(1)} kB gzipped in ${chunks.length} chunks; the budget is ${BUDGET_BYTES / 1000} kB`;
if (chunks.length === 0 || total > BUDGET_BYTES) {
  process.stderr.write(`${line}: over it\n`);
  process.exit(1);
}
process.stdout.write(`${line}\n`);
