import { useEffect, useState } from "react";
import { useI18n } from "../src/i18n";
import { Exact } from "./exact";

const STEPS: [Intl.RelativeTimeFormatUnit, number][] = [
  ["year", 31_557_600],
  ["month", 2_629_800],
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
  ["second", 1],
];
const REFRESH_MS = 15_000;

/** How long ago, or how soon, with the instant on hover. */
export function RelativeTime({ at }: { at: string }) {
  const { language } = useI18n();
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = window.setInterval(() => setNow(Date.now()), REFRESH_MS);
    return () => window.clearInterval(timer);
  }, []);
  const instant = new Date(at);
  const exact = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "long" }).format(instant);
  return <Exact short={relative((instant.getTime() - now) / 1000, language)} exact={exact} dateTime={at} />;
}

function relative(seconds: number, language: string): string {
  const size = Math.abs(seconds);
  const [unit, length] = STEPS.find(([, step]) => size >= step) ?? ["second", 1];
  const format = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
  return format.format(Math.round(seconds / length), unit);
}
