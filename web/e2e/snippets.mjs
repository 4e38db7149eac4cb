// Code that was copied from the console, really run.
import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Runs a snippet in `folder`, where the official clients are installed, with the key in the environment, or none; gives what it printed. */
export async function printedBy(dialect, snippet, folder, key) {
  const [program, ...args] = commandFor(dialect, snippet);
  const { TOKENGRID_KEY: _, ...without } = process.env;
  const env = key === undefined ? without : { ...without, TOKENGRID_KEY: key };
  const { stdout } = await run(program, args, { cwd: folder, env, timeout: 30_000 });
  return stdout;
}

function commandFor(dialect, snippet) {
  switch (dialect) {
    case "curl":
    case "GraphQL":
      return ["sh", "-c", snippet];
    case "JavaScript":
      return ["node", "--input-type=module", "--eval", snippet];
    case "Python":
      // The interpreter that has the official client.
      return [process.env.TOKENGRID_PYTHON, "-c", snippet];
    default:
      throw new Error(`nobody knows how to run ${dialect}`);
  }
}
