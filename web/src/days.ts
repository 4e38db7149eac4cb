const DAY_MS = 86_400_000;

/** The day of an instant in UTC, such as `2026-11-23`. */
export function dayOf(instant: number): string {
  return new Date(instant).toISOString().slice(0, 10);
}

/** So many days later. */
export function moved(day: string, days: number): string {
  return dayOf(Date.parse(day) + days * DAY_MS);
}

/** Every day from the first to the last. */
export function daysBetween(first: string, last: string): string[] {
  const days = Math.round((Date.parse(last) - Date.parse(first)) / DAY_MS) + 1;
  return Array.from({ length: days }, (_, day) => moved(first, day));
}

/** From the beginning of the first day to the end of the last, as the API takes them. */
export function instantsOf(first: string, last: string): { from: string; to: string } {
  return { from: `${first}T00:00:00Z`, to: `${moved(last, 1)}T00:00:00Z` };
}
