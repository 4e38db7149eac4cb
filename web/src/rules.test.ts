import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

/** The console's own sources, without tests and what is generated. */
const sources = ["src", "ui", "pages"].flatMap(below).filter((path) => /\.(tsx?|css)$/.test(path) && !/\.test\.|\/gql\/|stage/.test(path));

function below(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? below(path) : [path];
  });
}

/** Every line that breaks a rule, in the files that it holds for. */
function breaches(pattern: RegExp, holdsFor: (path: string) => boolean): string[] {
  return sources.filter(holdsFor).flatMap((path) => {
    const lines = readFileSync(path, "utf8").split("\n");
    return lines.filter((line) => pattern.test(line)).map((line) => `${path}: ${line.trim()}`);
  });
}

test("the sources are found", () => expect(sources.length).toBeGreaterThan(60));

test("money is printed by one component", () => {
  expect(breaches(/style: "currency"|currencyDisplay/, (path) => path !== "ui/money.tsx")).toEqual([]);
});

test("colours stand in the theme and nowhere else", () => {
  expect(breaches(/#[0-9a-f]{3,8}\b|rgba?\(|hsl\(/i, (path) => path !== "src/theme.ts")).toEqual([]);
});

test("what is said stands in the dictionaries and nowhere else", () => {
  const isView = (path: string) => path.endsWith(".tsx");
  expect(breaches(/>[^<>{}=]*[A-Za-z]{2,}[^<>{}=]*<\//, isView)).toEqual([]);
  expect(breaches(/^\s+[A-Z][a-z]+( [A-Za-z]+)*[.!?:]?$/, isView)).toEqual([]);
  expect(breaches(/\b(label|title|placeholder|description|alt|aria-label|aria-valuetext)="[^"]*[A-Za-z]/, isView)).toEqual([]);
});

test("components never fetch: pages own the queries", () => {
  expect(breaches(/\buse(Query|Mutation|Subscription|Client)\b|\bfetch\(/, (path) => path.startsWith("ui/"))).toEqual([]);
});
