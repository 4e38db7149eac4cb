import { Text, Tooltip } from "@mantine/core";
import { useI18n } from "../src/i18n";

const SHORT_FROM = 10_000n;

/** A number of tokens: shortened when large, with the exact value on hover. */
export function TokenCount({ value }: { value: string | number }) {
  const { language } = useI18n();
  const count = BigInt(value);
  const exact = new Intl.NumberFormat(language).format(count);
  const text = (
    <Text component="span" inherit>
      {count < SHORT_FROM ? exact : short(count, language)}
    </Text>
  );
  return count < SHORT_FROM ? text : <Tooltip label={exact}>{text}</Tooltip>;
}

function short(count: bigint, language: string): string {
  return new Intl.NumberFormat(language, { notation: "compact", maximumSignificantDigits: 3 }).format(count);
}
