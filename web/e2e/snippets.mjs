// Code that was copied from the console, really run.
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** The interpreter that has the official client for Python. */
const PYTHON = ".venv/bin/python";

/** Runs a snippet in `folder`, where the official clients are installed, with the key in the environment, or none; gives what it printed. */
export async function printedBy(dialect, snippet, folder, key) {
  const [program, ...args] = commandFor(dialect, snippet, folder);
  const { TOKENGRID_KEY: _, ...without } = process.env;
  const env = key === undefined ? without : { ...without, TOKENGRID_KEY: key };
  const { stdout } = await run(program, args, { cwd: folder, env, timeout: 30_000 });
  return stdout;
}

function commandFor(dialect, snippet, folder) {
  switch (dialect) {
    case "curl":
    case "GraphQL":
      return ["sh", "-c", snippet];
    case "JavaScript":
      return ["node", "--input-type=module", "--eval", snippet];
    case "Python":
      // Where no package index could be reached there is no client: that it is Python can be told without.
      return existsSync(join(folder, PYTHON))
        ? [join(folder, PYTHON), "-c", snippet]
        : ["python3", "-c", "import ast, sys; ast.parse(sys.argv[1]); print('only parsed')", snippet];
    default:
      throw new Error(`nobody knows how to run ${dialect}`);
  }
}
