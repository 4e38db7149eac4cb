import { instantsOf, moved } from "../src/days";
import type { JobStatus, UsageGroup } from "../src/gql/graphql";

/** The periods that can be picked. */
export const periods = ["today", "7", "30", "custom"] as const;

/** What usage can be summed over. */
export const groupings = ["day", "model", "key", "project"] as const;

/** How far a job can be. */
export const statuses = ["ADMITTED", "STREAMING", "DONE", "FAILED", "CANCELLED", "VOIDED"] as const satisfies JobStatus[];

/** The longest period that is shown: as many days as one page of days holds, and a chart can tell apart. */
export const DAYS_MAX = 92;

export type Period = (typeof periods)[number];
export type Grouping = (typeof groupings)[number];

/** What the API calls them. */
export const groups: Record<Grouping, UsageGroup> = { day: "DAY", model: "MODEL", key: "API_KEY", project: "PROJECT" };

/** What the usage screen shows; all of it stands in the address. */
export interface View {
  period: Period;
  /** The first day, in UTC, such as `2026-11-23`. */
  first: string;
  /** The last day; it is shown too. */
  last: string;
  by: Grouping;
  asTable: boolean;
  model: string | null;
  status: JobStatus | null;
  apiKeyId: string | null;
  after: string | null;
}

/** The view that an address asks for; what makes no sense there is as if it were absent. */
export function viewOf(params: URLSearchParams, today: string): View {
  const period = periods.find((name) => name === params.get("period")) ?? "7";
  return {
    period,
    ...daysOf(period, params, today),
    by: groupings.find((name) => name === params.get("by")) ?? "day",
    asTable: params.get("view") === "table",
    model: params.get("model"),
    status: statuses.find((name) => name === params.get("status")) ?? null,
    apiKeyId: params.get("key"),
    after: params.get("after"),
  };
}

/** Which jobs the view lists. */
export function filterOf(view: View) {
  const { model, status, apiKeyId } = view;
  return { ...instantsOf(view.first, view.last), model, status, apiKeyId };
}

function daysOf(period: Period, params: URLSearchParams, today: string): Pick<View, "first" | "last"> {
  if (period === "today") return { first: today, last: today };
  if (period !== "custom") return { first: moved(today, 1 - Number(period)), last: today };
  const last = dayIn(params.get("to")) ?? today;
  const first = dayIn(params.get("from")) ?? moved(last, -6);
  const ordered = first <= last ? { first, last } : { first: last, last: first };
  const earliest = moved(ordered.last, 1 - DAYS_MAX);
  return { first: ordered.first < earliest ? earliest : ordered.first, last: ordered.last };
}

function dayIn(text: string | null): string | undefined {
  return text !== null && /^\d{4}-\d{2}-\d{2}$/.test(text) && !Number.isNaN(Date.parse(text)) ? text : undefined;
}
