import { expect, test } from "vitest";
import { csv } from "../src/csv";
import { daysBetween, instantsOf } from "../src/days";
import { filterOf, viewOf } from "./usage-view";

const TODAY = "2026-11-23";

/** The first and the last day of an address. */
function days(address: string): string[] {
  const { first, last } = viewOf(new URLSearchParams(address), TODAY);
  return [first, last];
}

test("a period is as many days as it says, today included", () => {
  expect(days("")).toEqual(["2026-11-17", TODAY]);
  expect(days("period=today")).toEqual([TODAY, TODAY]);
  expect(days("period=30")).toEqual(["2026-10-25", TODAY]);
});

test("days of one's own may come in either order, and are at most a page of days", () => {
  expect(days("period=custom&from=2026-11-20&to=2026-11-01")).toEqual(["2026-11-01", "2026-11-20"]);
  expect(days("period=custom&from=2020-01-01&to=2026-11-01")).toEqual(["2026-08-02", "2026-11-01"]);
  expect(daysBetween("2026-08-02", "2026-11-01")).toHaveLength(92);
});

test("what makes no sense in an address is as if it were absent", () => {
  const view = viewOf(new URLSearchParams("period=century&by=mood&status=ASLEEP&view=cloud"), TODAY);
  expect(view).toMatchObject({ period: "7", by: "day", status: null, asTable: false });
  expect(days("period=custom&from=yesterday&to=2026-13-45")).toEqual(["2026-11-17", TODAY]);
});

test("the last day is asked for to its end", () => {
  const view = viewOf(new URLSearchParams("period=today&model=spark-1"), TODAY);
  const day = { from: "2026-11-23T00:00:00Z", to: "2026-11-24T00:00:00Z" };
  expect(instantsOf(view.first, view.last)).toEqual(day);
  expect(filterOf(view)).toEqual({ ...day, model: "spark-1", status: null, apiKeyId: null });
});

test("a cell is quoted where it must be, and never runs as a formula", () => {
  expect(csv([["a,b", 'say "hi"', "=SUM(A1)", "-0.5"]])).toBe(`"a,b","say ""hi""",'=SUM(A1),-0.5`);
});
