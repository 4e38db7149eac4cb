import { expect, test } from "vitest";
import { en } from "./en";
import { zh } from "./zh";

/** The paths of all that a dictionary says, with what kind of thing stands there. */
function paths(words: object, above = ""): string[] {
  return Object.entries(words).flatMap(([name, value]: [string, unknown]) => {
    const path = `${above}.${name}`;
    return typeof value === "object" && value !== null ? paths(value, path) : [`${path}: ${typeof value}`];
  });
}

test("both languages say the same things", () => {
  // English shows the server's own words for most codes and accounts, so its lists of them are shorter.
  const own = [".error.byCode.", ".job.account"];
  const said = (words: object) => paths(words).filter((path) => !own.some((start) => path.startsWith(start))).toSorted();
  expect(said(zh)).toEqual(said(en));
});

test("nothing is said with no words", () => {
  for (const words of [en, zh]) {
    expect(JSON.stringify(words)).not.toContain('""');
  }
});
