import { useI18n } from "../src/i18n";
import { Exact } from "./exact";

const SHORT_FROM = 10_000n;

/** A number of tokens: shortened when large, with the exact value on hover. */
export function TokenCount({ value }: { value: string | number }) {
  const { language } = useI18n();
  const count = BigInt(value);
  const exact = new Intl.NumberFormat(language).format(count);
  return <Exact short={count < SHORT_FROM ? exact : shortened(count, language)} exact={exact} />;
}

function shortened(count: bigint, language: string): string {
  return new Intl.NumberFormat(language, { notation: "compact", maximumSignificantDigits: 3 }).format(count);
}
